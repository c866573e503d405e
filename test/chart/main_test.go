//go:build chart

// Package chart tests the Helm chart and config/ as an administrator uses them:
// rendered, validated by a real API server, and installed with the real helm,
// upgraded, rolled back and removed, with the webhook running as its Deployment
// specifies.
//
// No kubelet runs here: the tests start the webhook's process with the arguments,
// files and ServiceAccount token that the Deployment gives it. The one
// difference from a cluster is that the API server reaches it at a URL on
// loopback, where a balancer stands in for the Service.
package chart

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/test/harness"
)

// environment holds the tools and processes that all tests share.
type environment struct {
	root         string
	dir          string
	helm         string // helm's executable
	kubectl      string
	assets       string
	registryTool string
	certManager  string // cert-manager's controllers
	webhook      string // the webhook's executable
	cluster      *harness.ControlPlane
}

var shared environment

// kubeVersion is the release that charts are rendered for without a cluster.
const kubeVersion = "1.37.2"

func TestMain(m *testing.M) {
	if base := os.Getenv(postRenderVariable); base != "" {
		if err := postRender(base, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "post-rendering:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	harness.Main("chart", func(ctx context.Context) (int, error) { return runAll(ctx, m) })
}

func runAll(ctx context.Context, m *testing.M) (code int, err error) {
	folders, err := harness.Environment("test-chart",
		"KUBEBUILDER_ASSETS", "CAPVET_HELM_TOOLS", "CAPVET_REGISTRY_TOOLS", "CAPVET_CERTMANAGER_TOOLS")
	if err != nil {
		return 1, err
	}
	assets, helm, registry, certManager := folders[0], folders[1], folders[2], folders[3]
	root, err := harness.Root()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "capvet-chart-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	shared = environment{
		root: root, dir: dir, assets: assets,
		helm: filepath.Join(helm, "helm"), kubectl: filepath.Join(assets, "kubectl"), registryTool: filepath.Join(registry, "registry"),
		certManager: filepath.Join(certManager, "certmanager"),
	}
	// Without the race detector, as in a release.
	if shared.webhook, err = harness.BuildCommand(ctx, root, "webhook", dir); err != nil {
		return 1, err
	}
	if shared.cluster, err = harness.StartControlPlane(assets, dir); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, shared.cluster.Stop()) }()
	return m.Run(), nil
}

// chartDir returns the chart's folder.
func chartDir() string { return filepath.Join(shared.root, "charts", "capvet") }

// helm runs the real one, as the cluster's administrator.
func helm(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), shared.helm, args...)
	home := filepath.Join(shared.dir, "helm")
	command.Env = append(os.Environ(),
		"KUBECONFIG="+shared.cluster.Kubeconfig,
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home,
	)
	command.Env = append(command.Env, env...)
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// render runs helm template.
func render(t *testing.T, args ...string) string {
	t.Helper()
	output, err := helm(t, nil, append([]string{"template", "capvet", chartDir(), "--namespace", "capvet-system", "--kube-version",
		kubeVersion}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// kubectl runs the real one, as the cluster's administrator.
func kubectl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), shared.kubectl, append([]string{"--kubeconfig", shared.cluster.Kubeconfig}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	if err != nil {
		return string(output), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return string(output), nil
}

// variants are helm's arguments for each of the chart's values files, by name;
// "default" has no values file.
func variants(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartDir(), "ci", "*-values.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	all := map[string][]string{"default": nil}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = []string{"--values", file}
	}
	return all
}
