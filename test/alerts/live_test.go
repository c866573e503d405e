//go:build alerts

package alerts

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/test/harness"
	"github.com/capvet/capvet/test/testimage"
)

const (
	namespace = "shop"
	// nobody is the address of a registry that is down: the discard port, without a listener.
	nobody = "127.0.0.1:9"
)

// TestAlertsFire lets a real Prometheus scrape a real webhook, with the rules'
// durations divided by sixty. No alert fires while the webhook is healthy. Then
// the test breaks one part after the other, and each alert fires.
func TestAlertsFire(t *testing.T) {
	legacy := pushLegacy(t)
	stuck := startStuck(t)
	cluster, webhook := startWebhook(t, hostOf(legacy), stuck)
	p := startPrometheus(t, strings.TrimPrefix(webhook.Metrics, "http://"), sped(shared.rules))

	l := &load{t: t, cluster: cluster}
	defer l.stop()
	l.every(250*time.Millisecond, l.pod(legacy))
	eventually(t, func(ctx context.Context) error {
		if n, err := p.samples(ctx, `capvet_findings_total{abi="v1"}`); err != nil || n == 0 {
			return fmt.Errorf("the webhook's findings are not scraped: %w", err)
		}
		if err := p.evaluated(ctx); err != nil {
			return err
		}
		pending, err := p.alerts(ctx)
		if err != nil || len(pending) > 0 {
			return fmt.Errorf("while all is well: %w %v", err, pending)
		}
		return nil
	})

	shortLived, key := certificate(t, 7*24*time.Hour)
	serve(t, webhook, shortLived, key)
	trust(t, cluster, shortLived)
	l.every(250*time.Millisecond, l.pod(nobody+"/library/haproxy:down"))
	for range 4 {
		l.every(time.Millisecond, l.pod(stuck+"/library/haproxy:stuck"))
	}
	l.every(500*time.Millisecond, l.nowhere())
	fires(t, p, "CapvetImagesUnreadable")
	fires(t, p, "CapvetInternalErrors")
	fires(t, p, "CapvetSlow")
	fires(t, p, "CapvetCertificateExpiresSoon")
	for _, expr := range dashboard(t) {
		eventually(t, func(ctx context.Context) error {
			if n, err := p.samples(ctx, expr); err != nil || n == 0 {
				return fmt.Errorf("the dashboard's %q has no data: %w", expr, err)
			}
			return nil
		})
	}
	l.stop()

	another, _ := certificate(t, 7*24*time.Hour)
	trust(t, cluster, another)
	fires(t, p, "CapvetCertificateNotTrusted")

	if err := webhook.Stop(); err != nil {
		t.Error(err)
	}
	fires(t, p, "CapvetAbsent")
	if n := len(rules(t)); n != 6 {
		t.Errorf("there are %d alerts, of which 6 were brought to fire", n)
	}
}

// dashboard returns the PromQL expressions of the chart's dashboard.
func dashboard(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(shared.root, "charts", "capvet", "files", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			all = append(all, target.Expr)
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d expressions on the dashboard", len(all))
	}
	return all
}

// fires waits until an alert fires, and sees that its texts are complete.
func fires(t *testing.T, p *prometheus, name string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		alerts, err := p.alerts(ctx)
		if err != nil {
			return err
		}
		for _, a := range alerts {
			if a.Labels["alertname"] != name || a.State != "firing" {
				continue
			}
			for key, text := range a.Annotations {
				if strings.Contains(text, "<") || strings.Contains(text, "  ") || strings.HasSuffix(text, " ") || strings.Contains(text, "()") {
					t.Errorf("%s: the annotation %s is %q", name, key, text)
				}
			}
			t.Logf("%s fires: %s", name, a.Annotations["summary"])
			return nil
		}
		return fmt.Errorf("%s does not fire; these are pending or fire: %v", name, alerts)
	})
}

// pushLegacy returns the reference of an image with HAProxy 3.0.
func pushLegacy(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	spec, _, err := testimage.HAProxy{Line: "3.0", Arch: "arm64", Fixtures: true}.Official(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image, err := testimage.Build(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	reference := server.Listener.Addr().String() + "/library/haproxy:3.0"
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return reference
}

func hostOf(reference string) string {
	host, _, _ := strings.Cut(reference, "/")
	return host
}

// startStuck starts a registry that begins to answer for a manifest and never
// ends, and returns its host.
func startStuck(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.Listener.Addr().String()
}

// startWebhook starts a control plane and a webhook that may use the
// registries, and a policy that warns of everything.
func startWebhook(t *testing.T, registries ...string) (*harness.ControlPlane, *harness.Webhook) {
	t.Helper()
	cluster, err := harness.StartControlPlane(shared.assets, shared.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	binary, err := harness.BuildCommand(t.Context(), shared.root, "webhook", shared.dir)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--allow-address=127.0.0.0/8", "--plain-http=" + nobody}
	for _, host := range registries {
		args = append(args, "--plain-http="+host)
	}
	webhook, err := cluster.StartWebhook(t.Context(), shared.root, harness.WebhookOptions{Binary: binary, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := webhook.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.CreateNamespace(t.Context(), namespace, nil); err != nil {
		t.Fatal(err)
	}
	policy := &v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "warn"}, Spec: v1alpha1.ClusterCapsetPolicySpec{
		CapsetPolicySpec: v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn},
	}}
	if err := cluster.Client.Create(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	return cluster, webhook
}
