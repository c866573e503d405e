//go:build alerts

// Package alerts tests the chart's alerts and dashboard with the real promtool
// and the real Prometheus: the rules as helm renders them, their state over time
// on given series, and, with the metrics of a running webhook, that each alert
// fires and each panel of the dashboard has data.
//
// Prometheus finds the webhook by a fixed address with the labels namespace and
// pod, which a ServiceMonitor adds in a cluster; no Prometheus operator runs.
package alerts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/test/harness"
)

// environment holds the tools and files that all tests share.
type environment struct {
	root       string // the repository's
	dir        string
	assets     string // folder of the control plane's executables
	promtool   string
	prometheus string
	rules      []byte // groups of rules, as Prometheus reads them
}

var shared environment

func TestMain(m *testing.M) {
	harness.Main("alerts", func(ctx context.Context) (int, error) { return runAll(ctx, m) })
}

func runAll(ctx context.Context, m *testing.M) (int, error) {
	folders, err := harness.Environment("test-alerts", "KUBEBUILDER_ASSETS", "CAPVET_HELM_TOOLS", "CAPVET_PROMETHEUS_TOOLS")
	if err != nil {
		return 1, err
	}
	assets, helm, tools := folders[0], folders[1], folders[2]
	root, err := harness.Root()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "capvet-alerts-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	shared = environment{
		root: root, dir: dir, assets: assets,
		promtool: filepath.Join(tools, "promtool"), prometheus: filepath.Join(tools, "prometheus"),
	}
	if shared.rules, err = renderRules(ctx, filepath.Join(helm, "helm"), filepath.Join(root, "charts", "capvet")); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// command runs a tool and returns its output, standard error included.
func command(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		return string(output), fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, output)
	}
	return string(output), nil
}
