//go:build chart

package chart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/test/harness"
)

// beforeReleases stands in for the previous release as long as no tag is
// reachable: main of 24 November 2026, before policies could choose images.
const beforeReleases = "ddbff13085ce5ed8973a3a3c73c9788ad9257ca3"

// previousRelease returns the newest release before this tree, or its stand-in,
// and the folder with its sources.
func previousRelease(t *testing.T) (revision, dir string) {
	t.Helper()
	git := func(args ...string) ([]byte, error) {
		command := exec.CommandContext(t.Context(), "git", args...)
		command.Dir = shared.root
		var stderr bytes.Buffer
		command.Stderr = &stderr
		output, err := command.Output()
		if err != nil {
			err = fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, &stderr)
		}
		return output, err
	}
	revision = beforeReleases
	// A release is upgraded to from the one before it.
	if tag, err := git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^"); err == nil {
		revision = strings.TrimSpace(string(tag))
	}
	archive, err := git("archive", "--format=tar", revision)
	if err != nil {
		t.Fatalf("the sources of the previous release, %s, are not in this clone: fetch the whole history and its tags (git fetch --unshallow "+
			"--tags): %v", revision, err)
	}
	dir = t.TempDir()
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(archive)
	if output, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v: %s", revision, err, output)
	}
	return revision, dir
}

// versions returns a CustomResourceDefinition's versions, with their schemas.
func versions(t *testing.T, text string) []any {
	t.Helper()
	objects, err := readObjects(strings.NewReader(text))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	versions, _, err := unstructured.NestedSlice(objects[0].Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	return versions
}

// wantKinds compares the installed CustomResourceDefinitions with those of a chart.
func wantKinds(t *testing.T, stage, chart string) {
	t.Helper()
	for _, kind := range []string{"capsetpolicies", "clustercapsetpolicies"} {
		file, err := os.ReadFile(filepath.Join(chart, "files", "crds", "capvet.dev_"+kind+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		installed, err := kubectl(t, "", "get", "crd", kind+".capvet.dev", "-o", "yaml")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(versions(t, string(file)), versions(t, installed)); diff != "" {
			t.Errorf("%s: %s (- chart, + installed): %s", stage, kind, diff)
		}
	}
}

// TestUpgradeFromPreviousRelease installs the previous release, upgrades it to
// this one under load as a Deployment is rolled, rolls it back, and removes it.
func TestUpgradeFromPreviousRelease(t *testing.T) {
	revision, old := previousRelease(t)
	oldWebhook, err := harness.BuildCommand(t.Context(), old, "webhook", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	createNamespaces(t, map[string]map[string]string{
		"upgraded": {"capvet.dev/mode": "warn"}, "upgraded-closed": {"capvet.dev/mode": "warn", "capvet.dev/fail": "closed"},
		"upgraded-own": nil, "upgraded-new": nil,
	})
	// Other tests' releases have left the kinds of this one.
	if _, err := kubectl(t, "", "delete", "crd", "--ignore-not-found", "capsetpolicies.capvet.dev",
		"clustercapsetpolicies.capvet.dev"); err != nil {
		t.Fatal(err)
	}
	now := newRelease(b, host, "--set", "webhook.failClosed.enabled=true")
	before := now
	before.chart = filepath.Join(old, "charts", "capvet")
	before.apply(t, "install")
	uninstalled := false
	t.Cleanup(func() {
		if !uninstalled {
			_ = exec.Command(shared.helm, "uninstall", "capvet", "--namespace", releaseNamespace, "--kubeconfig", shared.cluster.Kubeconfig).Run()
		}
	})
	replicas := before.serve(t, oldWebhook)
	const policy = "{apiVersion: capvet.dev/v1alpha1, kind: CapsetPolicy, metadata: {name: old, namespace: upgraded-own}, " +
		"spec: {action: Reject, architectures: [arm64]}}"
	if _, err := kubectl(t, policy, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	refused := func(ctx context.Context) error {
		if _, err := admit(ctx, "upgraded-own", image); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the policy of the previous release: %w", err)
		}
		return nil
	}
	holds := func(what string) {
		t.Helper()
		eventually(t, refused)
		if output, err := kubectl(t, policy, "apply", "--dry-run=server", "-f", "-"); err != nil || !strings.Contains(output, "unchanged") {
			t.Errorf("%s: the policy of the previous release: %s %v", what, output, err)
		}
	}
	eventually(t, judged("upgraded", image))
	holds("installed")
	wantKinds(t, "installed", before.chart)

	l := startLoad(t, "upgraded", image)
	closed := startLoad(t, "upgraded-closed", image)
	report := func(what string) {
		t.Helper()
		l.report(t, what, true)
		closed.report(t, what+", fail-closed", true)
	}
	now.apply(t, "upgrade")
	now.roll(t, shared.webhook, replicas)
	holds("upgraded")
	wantKinds(t, "upgraded", now.chart)
	if _, err := kubectl(t, "{apiVersion: capvet.dev/v1alpha1, kind: CapsetPolicy, metadata: {name: new, namespace: upgraded-new}, "+
		"spec: {action: Reject, images: All}}", "apply", "-f", "-"); err != nil {
		t.Errorf("a policy of this release: %v", err)
	}
	eventually(t, func(ctx context.Context) error {
		if _, err := admit(ctx, "upgraded-new", image); !apierrors.IsForbidden(err) {
			return fmt.Errorf("a policy of this release: %w", err)
		}
		return nil
	})
	report("upgrade from " + revision)

	l, closed = startLoad(t, "upgraded", image), startLoad(t, "upgraded-closed", image)
	now.rollback(t)
	before.roll(t, oldWebhook, replicas)
	holds("rolled back")
	wantKinds(t, "rolled back", before.chart)
	report("rollback to " + revision)

	l, closed = startLoad(t, "upgraded", image), startLoad(t, "upgraded-closed", image)
	eventually(t, judged("upgraded", image))
	if output, err := helm(t, nil, "uninstall", "capvet", "--namespace", releaseNamespace); err != nil {
		t.Fatalf("%v %s", err, output)
	}
	uninstalled = true
	if _, err := admit(t.Context(), "upgraded-own", image); err != nil {
		t.Errorf("uninstalled, and yet: %v", err)
	}
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Name: "capvet"}, c); !apierrors.IsNotFound(err) {
		t.Errorf("the webhook configuration: %v", err)
	}
	l.report(t, "uninstalled under load", false)
	closed.report(t, "uninstalled under load, fail-closed", false)
	if _, err := kubectl(t, "", "delete", "crd", "capsetpolicies.capvet.dev", "clustercapsetpolicies.capvet.dev"); err != nil {
		t.Error(err)
	}
}
