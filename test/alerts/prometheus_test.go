//go:build alerts

package alerts

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/capvet/capvet/test/process"
)

// prometheus is a running Prometheus.
type prometheus struct {
	url string
}

// configuration is Prometheus', for rules, and a target without its scheme.
const configuration = `global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
- job_name: capvet
  static_configs:
  - targets: [%q]
    labels: {namespace: capvet-system, pod: capvet-0}
`

// startPrometheus starts one that scrapes target each second and evaluates
// rules as often. It ends with the test.
func startPrometheus(t *testing.T, target string, rules []byte) *prometheus {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{"prometheus.yaml": fmt.Appendf(nil, configuration, target), "rules.yaml": rules} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "prometheus.yaml")
	if _, err := command(t, shared.promtool, "check", "config", "--lint=none", config); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	server, err := process.Start(exec.Command(shared.prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address), filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Prometheus' log ends with:\n%s", server.Tail())
		}
	})
	p := &prometheus{url: "http://" + address}
	eventually(t, func(ctx context.Context) error {
		response, err := fetch(ctx, p.url+"/-/ready")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("Prometheus is not ready: %s", response.Status)
		}
		return nil
	})
	return p
}

func fetch(ctx context.Context, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(request)
}

// get asks Prometheus' API for path with a query, and reads the answer's data.
func (p *prometheus) get(ctx context.Context, path string, query url.Values, data any) error {
	response, err := fetch(ctx, p.url+"/api/v1/"+path+"?"+query.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("reading Prometheus' answer: %w", err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("Prometheus answers %s: %s", response.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// samples returns how many samples an expression has now.
func (p *prometheus) samples(ctx context.Context, expr string) (int, error) {
	var data struct {
		Result []json.RawMessage `json:"result"`
	}
	err := p.get(ctx, "query", url.Values{"query": {expr}}, &data)
	return len(data.Result), err
}

// alert is a pending or firing alert.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// alerts returns the pending and firing alerts.
func (p *prometheus) alerts(ctx context.Context) ([]alert, error) {
	var data struct {
		Alerts []alert `json:"alerts"`
	}
	err := p.get(ctx, "alerts", nil, &data)
	return data.Alerts, err
}

// evaluated returns an error until Prometheus has evaluated every rule without an error.
func (p *prometheus) evaluated(ctx context.Context) error {
	var data struct {
		Groups []struct {
			Rules []struct {
				Name      string `json:"name"`
				Health    string `json:"health"`
				LastError string `json:"lastError"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := p.get(ctx, "rules", nil, &data); err != nil {
		return err
	}
	if len(data.Groups) == 0 {
		return fmt.Errorf("there are no rules")
	}
	for _, group := range data.Groups {
		for _, r := range group.Rules {
			if r.Health != "ok" {
				return fmt.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	return nil
}

// eventuallyLimit bounds the wait for a condition.
const eventuallyLimit = 3 * time.Minute

// eventually tries until there is no error.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), eventuallyLimit)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
