//go:build alerts

package alerts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// ruleFile is the part of a PrometheusRule that Prometheus reads.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// kubeVersion is the release that the chart is rendered for.
const kubeVersion = "1.37.2"

// renderRules returns the spec of the chart's PrometheusRule.
func renderRules(ctx context.Context, helm, chart string) ([]byte, error) {
	var stderr bytes.Buffer
	template := exec.CommandContext(ctx, helm, "template", "capvet", chart, "--namespace", "capvet-system", "--kube-version", kubeVersion,
		"--show-only", "templates/monitoring.yaml", "--set", "metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true")
	template.Stderr = &stderr
	rendered, err := template.Output()
	if err != nil {
		return nil, fmt.Errorf("rendering the chart: %w: %s", err, stderr.Bytes())
	}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	for {
		var object struct {
			Kind string         `json:"kind"`
			Spec map[string]any `json:"spec"`
		}
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return nil, errors.New("the chart renders no PrometheusRule")
		} else if err != nil {
			return nil, fmt.Errorf("reading the chart as rendered: %w", err)
		}
		if object.Kind == "PrometheusRule" {
			return yaml.Marshal(object.Spec)
		}
	}
}

// rules returns the alerts.
func rules(t *testing.T) []rule {
	t.Helper()
	var file ruleFile
	if err := yaml.UnmarshalStrict(shared.rules, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 6 {
		t.Fatalf("only %d alerts", len(all))
	}
	return all
}

// promtoolTests runs testdata/alerts.yaml on rules.
func promtoolTests(t *testing.T, rules []byte) error {
	t.Helper()
	dir := t.TempDir()
	tests, err := os.ReadFile(filepath.Join("testdata", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"rules.yaml": rules, "alerts.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = command(t, shared.promtool, "test", "rules", filepath.Join(dir, "alerts.yaml"))
	return err
}

func TestCheckRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, shared.rules, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, shared.promtool, "check", "rules", "--lint=all", "--lint-fatal", file); err != nil {
		t.Error(err)
	}
}

func TestRules(t *testing.T) {
	if err := promtoolTests(t, shared.rules); err != nil {
		t.Error(err)
	}
}

// alterations are small changes of the alerts' expressions.
var alterations = map[string][][2]string{
	"CapvetAbsent": {{"capvet_certificate_trusted", "capvet_certificate_trusted == 0"},
		{"_trusted", `_trusted{pod="capvet-0"}`}},
	"CapvetCertificateNotTrusted":  {{"== 0", "== 1"}, {"== 0", "< 2"}, {"namespace, pod", "namespace"}},
	"CapvetCertificateExpiresSoon": {{"14 *", "13.99 *"}, {"14 *", "14.05 *"}, {"14 *", "15 *"}},
	"CapvetInternalErrors":         {{`{outcome="error"}`, ""}, {"> 0", "> 1"}, {"by (namespace)", ""}, {"[10m]", "[30m]"}},
	"CapvetImagesUnreadable":       {{"> 0.1", "> 0.16"}, {"> 0.1", "> 0.04"}, {", class)", ")"}, {"sum by (", "max by ("}},
	"CapvetSlow":                   {{"0.99", "0.95"}, {"0.99", "0.999"}, {"> 5", "> 2"}, {"> 5", "> 10"}, {", le)", ", pod, le)"}},
}

// TestRulesTested: promtool's tests fail when an alert asks for a little more or
// less, or waits a minute more or less.
func TestRulesTested(t *testing.T) {
	quoted := string(shared.rules)
	for _, r := range rules(t) {
		if len(alterations[r.Alert]) == 0 {
			t.Errorf("%s has no alterations", r.Alert)
			continue
		}
		wait, err := time.ParseDuration(r.For)
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
			continue
		}
		type altered struct{ what, expr, wait string }
		all := []altered{{"fires early", r.Expr, (wait - time.Minute).String()}, {"fires late", r.Expr, (wait + time.Minute).String()}}
		for _, a := range alterations[r.Alert] {
			expr := strings.Replace(r.Expr, a[0], a[1], 1)
			if expr == r.Expr {
				t.Errorf("%s has no %q", r.Alert, a[0])
			}
			all = append(all, altered{fmt.Sprintf("%q for %q", a[1], a[0]), expr, r.For})
		}
		for _, a := range all {
			t.Run(r.Alert+" "+a.what, func(t *testing.T) {
				var file ruleFile
				if err := yaml.Unmarshal([]byte(quoted), &file); err != nil {
					t.Fatal(err)
				}
				for _, group := range file.Groups {
					for i := range group.Rules {
						if group.Rules[i].Alert == r.Alert {
							group.Rules[i].Expr, group.Rules[i].For = a.expr, a.wait
						}
					}
				}
				text, err := yaml.Marshal(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := promtoolTests(t, text); err == nil {
					t.Error("no test notices")
				} else if !strings.Contains(err.Error(), "FAILED") {
					t.Error(err)
				}
			})
		}
	}
}

// TestRunbooks: each alert leads to a page that is there, and has a severity.
func TestRunbooks(t *testing.T) {
	const base = "https://github.com/capvet/capvet/blob/main/"
	for _, r := range rules(t) {
		page, ok := strings.CutPrefix(r.Annotations["runbook_url"], base)
		if !ok || path.Base(page) != r.Alert+".md" {
			t.Errorf("%s: the runbook is %q", r.Alert, r.Annotations["runbook_url"])
			continue
		}
		if text, err := os.ReadFile(filepath.Join(shared.root, filepath.FromSlash(page))); err != nil ||
			!strings.HasPrefix(string(text), "# "+r.Alert+"\n") {
			t.Errorf("%s: %v, or another title", page, err)
		}
		if severity := r.Labels["severity"]; severity != "warning" && severity != "critical" {
			t.Errorf("%s: severity %q", r.Alert, severity)
		}
	}
}

// durations are those of alerts: after `for:` and in range selectors.
var durations = regexp.MustCompile(`(for: |\[)([0-9]+)([mh])`)

// sped returns the rules with a minute for each hour and a second for each
// minute, so that a test need not wait for hours. Thresholds stay.
func sped(rules []byte) []byte {
	faster := map[string]string{"h": "m", "m": "s"}
	return durations.ReplaceAllFunc(rules, func(match []byte) []byte {
		parts := durations.FindStringSubmatch(string(match))
		return []byte(parts[1] + parts[2] + faster[parts[3]])
	})
}
