//go:build chart

package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
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

// admit has the API server admit a Pod, as a dry run, and returns the warnings.
func admit(ctx context.Context, namespace, image string, pullSecrets ...string) (string, error) {
	var warnings recorder
	config := rest.CopyConfig(shared.cluster.Config)
	config.WarningHandler, config.QPS = &warnings, -1
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "lb-"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "lb", Image: image}}}}
	for _, name := range pullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	_, err = clients.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return warnings.text(), err
}

// recorder keeps warnings.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (r *recorder) HandleWarningHeader(_ int, _, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, text)
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// legacyWarning is part of what a Pod with HAProxy 3.0 is warned of.
const legacyWarning = "legacy 32-bit"

// pendingWarning is part of what it is warned of when time runs out.
const pendingWarning = "is pending"

func judged(namespace, image string) func(context.Context) error {
	return func(ctx context.Context) error {
		warnings, err := admit(ctx, namespace, image)
		if err == nil && !strings.Contains(warnings, legacyWarning) {
			err = fmt.Errorf("not judged: %q", warnings)
		}
		return err
	}
}

// load is a stream of admissions.
type load struct {
	admitted, failed, unjudged atomic.Int64
	// Told so: that there was no time, and that it could not be done.
	pending, uninspected atomic.Int64
	first                atomic.Pointer[error]
	firstUnjudged        atomic.Pointer[string] // when, and what was said instead
	stop                 func()
}

// startLoad admits Pods in several streams until stop is called.
func startLoad(t *testing.T, namespace, image string) *load {
	t.Helper()
	l := &load{}
	ctx, cancel := context.WithCancel(t.Context())
	var streams sync.WaitGroup
	for range 4 {
		streams.Go(func() {
			for ctx.Err() == nil {
				warnings, err := admit(context.WithoutCancel(ctx), namespace, image)
				switch {
				case err != nil:
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, &err)
				case strings.Contains(warnings, pendingWarning):
					l.pending.Add(1)
				case strings.Contains(warnings, "not inspected"):
					l.uninspected.Add(1)
				case !strings.Contains(warnings, legacyWarning):
					l.unjudged.Add(1)
					said := fmt.Sprintf("%s: %q", time.Now().UTC().Format(time.RFC3339Nano), warnings)
					l.firstUnjudged.CompareAndSwap(nil, &said)
				default:
					l.admitted.Add(1)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	l.stop = func() {
		cancel()
		streams.Wait()
	}
	return l
}

func (l *load) print(what string) {
	fmt.Printf("chart: %s: %d admissions judged, %d pending, %d not inspected, %d not judged, %d failed\n",
		what, l.admitted.Load(), l.pending.Load(), l.uninspected.Load(), l.unjudged.Load(), l.failed.Load())
}

// report ends the load and prints the count. No admission may have failed.
func (l *load) report(t *testing.T, what string, judged bool) {
	t.Helper()
	l.stop()
	l.print(what)
	if l.failed.Load() > 0 {
		t.Errorf("%s: %d admissions failed: %v", what, l.failed.Load(), *l.first.Load())
	}
	if judged && l.unjudged.Load() > 0 {
		t.Errorf("%s: %d Pods were admitted unjudged, the first with %s; the API server says:\n%s", what, l.unjudged.Load(),
			*l.firstUnjudged.Load(), failedCalls(t))
	}
	if judged && l.uninspected.Load() > 0 {
		t.Errorf("%s: %d Pods were not inspected", what, l.uninspected.Load())
	}
	if l.admitted.Load() == 0 {
		t.Errorf("%s: no load at all", what)
	}
}

// failedCalls returns the last of the API server's lines on webhooks that it
// could not call.
func failedCalls(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(shared.cluster.Log)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "webhook") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-10):], "")
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
	chart  string // its folder
	url    string
	values []string
}

func newRelease(b *balancer, registryHost string, values ...string) release {
	return release{chart: chartDir(), url: "https://" + b.Addr().String(), values: append([]string{
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
	if output, err := helm(t, []string{postRenderVariable + "=" + r.url}, append(args, values...)...); err != nil {
		t.Fatalf("%v\n%s", err, output)
	} else if verb == "install" && !strings.Contains(output, "See the first warning") {
		t.Errorf("the notes do not say how to see the first warning: %s", output)
	}
}

// TestLifeCycle installs, lives with, and removes one release.
func TestLifeCycle(t *testing.T) {
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	r := newRelease(b, host, "--set", "webhook.failClosed.enabled=true",
		// So short that several certificates come and go while the test watches.
		"--set", "certificates.lifetime=30s", "--set", "certificates.trustDelay=3s", "--set", "shutdownDelay=5s")
	for name, labels := range map[string]map[string]string{
		"shop": {"capvet.dev/mode": "warn"}, "strict": {"capvet.dev/mode": "reject"},
		"closed": {"capvet.dev/mode": "warn", "capvet.dev/fail": "closed"}, "plain": nil,
	} {
		if err := shared.cluster.CreateNamespace(t.Context(), name, labels); err != nil {
			t.Fatal(err)
		}
	}
	r.apply(t, "install")
	if _, err := admit(t.Context(), "shop", image); err != nil {
		t.Fatalf("before the first replica: %v", err)
	}
	start := func() *replica {
		replica := startReplica(t, releaseNamespace, "capvet")
		replica.awaitReady(t)
		return replica
	}
	replicas := []*replica{startReplica(t, releaseNamespace, "capvet"), startReplica(t, releaseNamespace, "capvet")}
	for _, replica := range replicas {
		replica.awaitReady(t)
	}
	b.set(replicas...)

	t.Run("presets", func(t *testing.T) {
		eventually(t, judged("shop", image))
		if _, err := admit(t.Context(), "strict", image); !apierrors.IsForbidden(err) {
			t.Errorf("mode reject: %v", err)
		}
		if warnings, err := admit(t.Context(), "plain", image); err != nil || warnings != "" {
			t.Errorf("no label: %v %q", err, warnings)
		}
	})
	t.Run("helm test", func(t *testing.T) {
		// What its Pod runs, at the address that the Service leads to.
		pods := byName(t, render(t, "--show-only", "templates/test.yaml"))
		var args []string
		for _, value := range pods["Pod/capvet-test"].Object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["args"].([]any) {
			args = append(args, strings.Replace(value.(string), "capvet.capvet-system.svc:8080", replicas[0].metrics, 1))
		}
		if output, err := exec.CommandContext(t.Context(), shared.webhook, args...).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, output)
		}
	})
	t.Run("metrics", func(t *testing.T) { everyMetricIsExported(t, replicas) })
	t.Run("rotation", func(t *testing.T) {
		l := startLoad(t, "shop", image)
		seen := map[string]bool{}
		bundles := map[string]bool{}
		eventuallyWithin(t, 3*time.Minute, func(ctx context.Context) error {
			served, err := servedCertificate(ctx, b.Addr().String())
			if err != nil {
				return err
			}
			seen[served.SerialNumber.String()] = true
			bundles[string(configuration(t).Webhooks[0].ClientConfig.CABundle)] = true
			if len(seen) < 4 {
				return fmt.Errorf("%d certificates served", len(seen))
			}
			return nil
		})
		l.report(t, fmt.Sprintf("%d rotations of the certificate (%d caBundles)", len(seen)-1, len(bundles)), true)
	})
	t.Run("rolled", func(t *testing.T) {
		l := startLoad(t, "shop", image)
		for i := range replicas {
			old := replicas[i]
			next := start()
			b.set(append(replicas[:len(replicas):len(replicas)], next)...)
			old.terminate(t)
			replicas[i] = next
			b.set(replicas...)
		}
		l.report(t, "two replicas rolled", true)
	})
	t.Run("upgrade and rollback", func(t *testing.T) {
		l := startLoad(t, "shop", image)
		r.apply(t, "upgrade", "--set", "webhook.timeoutSeconds=7", "--set", "log.level=debug")
		if got := *configuration(t).Webhooks[0].TimeoutSeconds; got != 7 {
			t.Errorf("not upgraded: %d", got)
		}
		time.Sleep(time.Second)
		if output, err := helm(t, []string{postRenderVariable + "=" + r.url}, "rollback", "capvet", "1", "--namespace",
			releaseNamespace); err != nil {
			t.Fatalf("%v %s", err, output)
		}
		if got := *configuration(t).Webhooks[0].TimeoutSeconds; got != 10 {
			t.Errorf("not rolled back: %d", got)
		}
		l.report(t, "helm upgrade and rollback", true)
	})
	t.Run("edited", func(t *testing.T) {
		l := startLoad(t, "shop", image)
		for what, edit := range map[string]func(*admissionregistrationv1.ValidatingWebhookConfiguration){
			"emptied": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
				c.Webhooks[0].ClientConfig.CABundle = nil
			},
			"another's": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
				c.Webhooks[0].ClientConfig.CABundle = shared.cluster.Config.CAData
			},
		} {
			eventually(t, func(ctx context.Context) error {
				c := configuration(t)
				edit(c)
				return shared.cluster.Client.Update(ctx, c)
			})
			eventually(t, func(context.Context) error {
				webhooks := configuration(t).Webhooks
				if len(webhooks[0].ClientConfig.CABundle) == 0 || !bytes.Equal(webhooks[0].ClientConfig.CABundle, webhooks[1].ClientConfig.CABundle) {
					return fmt.Errorf("%s: not repaired", what)
				}
				return nil
			})
			eventually(t, judged("shop", image))
		}
		l.report(t, "the caBundle edited twice", false)
	})
	t.Run("killed", func(t *testing.T) {
		l := startLoad(t, "shop", image)
		time.Sleep(time.Second)
		replicas[0].Kill()
		time.Sleep(3 * time.Second)
		next := start()
		replicas[0] = next
		b.set(replicas...)
		eventually(t, judged("shop", image))
		l.report(t, "a replica killed", false)
	})
	t.Run("down", func(t *testing.T) {
		for _, replica := range replicas {
			replica.terminate(t)
		}
		b.set()
		if _, err := admit(t.Context(), "shop", image); err != nil {
			t.Errorf("fail-open: %v", err)
		}
		if _, err := admit(t.Context(), "closed", image); err == nil ||
			!strings.Contains(err.Error(), `failed calling webhook "closed.pods.capvet.dev"`) {
			t.Errorf("fail-closed: %v", err)
		}
	})
	t.Run("uninstall", func(t *testing.T) {
		if output, err := helm(t, nil, "uninstall", "capvet", "--namespace", releaseNamespace); err != nil {
			t.Fatalf("%v %s", err, output)
		}
		c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
		if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Name: "capvet"}, c); !apierrors.IsNotFound(err) {
			t.Errorf("the webhook configuration: %v", err)
		}
		for _, namespace := range []string{"shop", "strict", "closed", "plain"} {
			eventually(t, func(ctx context.Context) error {
				_, err := admit(ctx, namespace, image)
				return err
			})
		}
		secret := &corev1.Secret{}
		if err := shared.cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: releaseNamespace, Name: "capvet-tls"},
			secret); !apierrors.IsNotFound(err) {
			t.Errorf("the certificate's Secret: %v", err)
		}
		if output, err := kubectl(t, "", "get", "crd", "clustercapsetpolicies.capvet.dev"); err != nil {
			t.Errorf("the policy kinds were to stay: %v %s", err, output)
		}
	})
}

func eventuallyWithin(t *testing.T, limit time.Duration, try func(context.Context) error) {
	t.Helper()
	err := errors.New("no try")
	for deadline := time.Now().Add(limit); err != nil && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		err = try(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
}

// everyMetricIsExported: each metric that the alerts or the dashboard name is
// one that the replicas export after a few requests.
func everyMetricIsExported(t *testing.T, replicas []*replica) {
	for _, namespace := range []string{"shop", "strict", "plain"} {
		_, _ = admit(t.Context(), namespace, replicas[0].address+"/cannot/be:read")
	}
	var exported []byte
	for _, r := range replicas { // the API server keeps to one of them for a while
		response, err := http.Get("http://" + r.metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		exported = append(exported, text...)
	}
	for _, address := range []string{replicas[0].metrics, replicas[0].health} {
		response, err := http.Get("http://" + address + "/debug/pprof/")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("profiles are served though pprof is off: %s", response.Status)
		}
	}
	named := map[string]bool{}
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		text, err := os.ReadFile(filepath.Join(chartDir(), "files", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range regexp.MustCompile(`capvet_[a-z_]+`).FindAllString(string(text), -1) {
			named[metric] = true
		}
	}
	if len(named) < 6 {
		t.Errorf("only %d metrics named", len(named))
	}
	for metric := range named {
		if !regexp.MustCompile(`(?m)^` + metric + `[{ ]`).Match(exported) {
			t.Errorf("%s is named, but not exported", metric)
		}
	}
}
