//go:build chart

package chart

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/test/registry"
	"github.com/capvet/capvet/test/testimage"
)

const releaseNamespace = "capvet-system"

// pushHAProxy starts a registry with HAProxy 3.0 for arm64 in it.
func pushHAProxy(t *testing.T) (host, reference string) {
	t.Helper()
	store, err := registry.Start(t.Context(), registry.Options{Binary: shared.registryTool, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	spec, origin, err := testimage.HAProxy{Line: "3.0", Arch: "arm64"}.Official(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := origin.Refused(); err != nil {
		t.Fatal(err)
	}
	image, err := testimage.Build(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	reference = store.Host() + "/library/haproxy:3.0"
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return store.Host(), reference
}

// createNamespaces creates namespaces with labels, by name.
func createNamespaces(t *testing.T, labels map[string]map[string]string) {
	t.Helper()
	for name, set := range labels {
		if err := shared.cluster.CreateNamespace(t.Context(), name, set); err != nil {
			t.Fatal(err)
		}
	}
}

func configuration(t *testing.T) *admissionregistrationv1.ValidatingWebhookConfiguration {
	t.Helper()
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Name: "capvet"}, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// release is an installation of the chart.
type release struct {
	chart    string // its folder
	balancer *balancer
	values   []string
}

// url is the address that the API server is to call.
func (r release) url() string { return "https://" + r.balancer.Addr().String() }

func newRelease(b *balancer, registryHost string, values ...string) release {
	return release{chart: chartDir(), balancer: b, values: append([]string{
		"--set", "registries.plainHTTP[0]=" + registryHost, "--set", "registries.allowAddresses[0]=127.0.0.0/8",
	}, values...)}
}

// apply runs helm install or upgrade.
func (r release) apply(t *testing.T, verb string, values ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{verb, "capvet", r.chart, "--namespace", releaseNamespace, "--post-renderer", self}, r.values...)
	if verb == "install" {
		args = append(args, "--create-namespace")
	}
	if output, err := helm(t, []string{postRenderVariable + "=" + r.url()}, append(args, values...)...); err != nil {
		t.Fatalf("%v\n%s", err, output)
	} else if verb == "install" && !strings.Contains(output, "kubectl -n capvet-trial run lb --image haproxy:3.0 --dry-run=server") {
		t.Errorf("the notes do not explain how to see a warning: %s", output)
	}
}

// uninstallAfter removes the release when the test ends.
func uninstallAfter(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		uninstall := exec.Command(shared.helm, "uninstall", "capvet", "--namespace", releaseNamespace, "--kubeconfig", shared.cluster.Kubeconfig)
		if output, err := uninstall.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
	})
}

// serve starts two replicas of the release's Deployment with an executable, waits until both are ready, and points the balancer at
// them.
func (r release) serve(t *testing.T, webhook string) []*replica {
	t.Helper()
	var replicas []*replica
	for range 2 {
		replicas = append(replicas, startReplicaOf(t, webhook, releaseNamespace, "capvet"))
	}
	for _, replica := range replicas {
		replica.awaitReady(t)
	}
	r.balancer.set(replicas...)
	return replicas
}

// roll replaces replicas one by one, as a Deployment with maxUnavailable 0 does: the next one is ready before its predecessor ends.
func (r release) roll(t *testing.T, webhook string, replicas []*replica) {
	t.Helper()
	for i, leaving := range replicas {
		next := startReplicaOf(t, webhook, releaseNamespace, "capvet")
		next.awaitReady(t)
		r.balancer.set(append(replicas[:len(replicas):len(replicas)], next)...)
		leaving.terminate(t)
		replicas[i] = next
		r.balancer.set(replicas...)
	}
}

// rollback runs helm rollback to the first revision.
func (r release) rollback(t *testing.T) {
	t.Helper()
	output, err := helm(t, []string{postRenderVariable + "=" + r.url()}, "rollback", "capvet", "1", "--namespace", releaseNamespace)
	if err != nil {
		t.Fatalf("%v %s", err, output)
	}
}
