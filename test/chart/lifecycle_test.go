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
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lifeCycle is one release with its load balancer and replicas. Each of its methods is a stage of TestLifeCycle.
type lifeCycle struct {
	release
	image    string
	replicas []*replica
}

// TestLifeCycle installs, lives with, and removes one release.
func TestLifeCycle(t *testing.T) {
	host, image := pushHAProxy(t)
	c := lifeCycle{image: image, release: newRelease(startBalancer(t), host, "--set", "webhook.failClosed.enabled=true",
		// So short that several certificates come and go while the test watches.
		"--set", "certificates.lifetime=30s", "--set", "certificates.trustDelay=3s", "--set", "shutdownDelay=5s")}
	createNamespaces(t, map[string]map[string]string{
		"shop": {"capvet.dev/mode": "warn"}, "strict": {"capvet.dev/mode": "reject"},
		"closed": {"capvet.dev/mode": "warn", "capvet.dev/fail": "closed"}, "plain": nil,
	})
	c.apply(t, "install")
	if _, err := admit(t.Context(), "shop", image); err != nil {
		t.Fatalf("before the first replica: %v", err)
	}
	c.replicas = c.serve(t, shared.webhook)

	t.Run("presets", c.presets)
	t.Run("helm test", c.helmTest)
	t.Run("metrics", func(t *testing.T) { everyMetricIsExported(t, c.replicas) })
	t.Run("rotation", c.rotation)
	// A replica outlives the stage that starts it, so it belongs to the whole test.
	t.Run("rolled", func(stage *testing.T) {
		l := startLoad(stage, "shop", image)
		c.roll(t, shared.webhook, c.replicas)
		l.report(stage, "two replicas rolled", true)
	})
	t.Run("upgrade and rollback", c.upgradeAndRollback)
	t.Run("edited", c.edited)
	t.Run("killed", func(stage *testing.T) {
		l := startLoad(stage, "shop", image)
		time.Sleep(time.Second)
		c.replicas[0].Kill()
		time.Sleep(3 * time.Second)
		c.replicas[0] = startReplica(t, releaseNamespace, "capvet")
		c.replicas[0].awaitReady(t)
		c.balancer.set(c.replicas...)
		eventually(stage, judged("shop", image))
		l.report(stage, "a replica killed", false)
	})
	t.Run("down", c.down)
	t.Run("uninstall", c.uninstall)
}

// presets: a namespace with a mode label gets the policy of that preset, and one without a label gets no policy.
func (c *lifeCycle) presets(t *testing.T) {
	eventually(t, judged("shop", c.image))
	if _, err := admit(t.Context(), "strict", c.image); !apierrors.IsForbidden(err) {
		t.Errorf("mode reject: %v", err)
	}
	if warnings, err := admit(t.Context(), "plain", c.image); err != nil || warnings != "" {
		t.Errorf("no label: %v %q", err, warnings)
	}
}

// helmTest runs the chart's test Pod's command, with a replica's address in place of the Service's.
func (c *lifeCycle) helmTest(t *testing.T) {
	// The Service's address leads to no Pod here.
	pods := byName(t, render(t, "--show-only", "templates/test.yaml"))
	var args []string
	for _, value := range pods["Pod/capvet-test"].Object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["args"].([]any) {
		args = append(args, strings.Replace(value.(string), "capvet.capvet-system.svc:8080", c.replicas[0].metrics, 1))
	}
	if output, err := exec.CommandContext(t.Context(), shared.webhook, args...).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

// rotation: certificates are replaced under load, and no admission fails.
func (c *lifeCycle) rotation(t *testing.T) {
	l := startLoad(t, "shop", c.image)
	seen := map[string]bool{}
	bundles := map[string]bool{}
	eventuallyWithin(t, 3*time.Minute, func(ctx context.Context) error {
		served, err := servedCertificate(ctx, c.balancer.Addr().String())
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
}

// upgradeAndRollback: helm upgrade and helm rollback under load lose no admission.
func (c *lifeCycle) upgradeAndRollback(t *testing.T) {
	l := startLoad(t, "shop", c.image)
	c.apply(t, "upgrade", "--set", "webhook.timeoutSeconds=7", "--set", "log.level=debug")
	if got := *configuration(t).Webhooks[0].TimeoutSeconds; got != 7 {
		t.Errorf("not upgraded: %d", got)
	}
	time.Sleep(time.Second)
	c.rollback(t)
	if got := *configuration(t).Webhooks[0].TimeoutSeconds; got != 10 {
		t.Errorf("not rolled back: %d", got)
	}
	l.report(t, "helm upgrade and rollback", true)
}

// edited: a caBundle that was emptied or replaced in the cluster is repaired.
func (c *lifeCycle) edited(t *testing.T) {
	l := startLoad(t, "shop", c.image)
	for what, edit := range map[string]func(*admissionregistrationv1.ValidatingWebhookConfiguration){
		"emptied": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.CABundle = nil
		},
		"another's": func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.CABundle = shared.cluster.Config.CAData
		},
	} {
		eventually(t, func(ctx context.Context) error {
			current := configuration(t)
			edit(current)
			return shared.cluster.Client.Update(ctx, current)
		})
		eventually(t, func(context.Context) error {
			webhooks := configuration(t).Webhooks
			if len(webhooks[0].ClientConfig.CABundle) == 0 || !bytes.Equal(webhooks[0].ClientConfig.CABundle, webhooks[1].ClientConfig.CABundle) {
				return fmt.Errorf("%s: not repaired", what)
			}
			return nil
		})
		eventually(t, judged("shop", c.image))
	}
	l.report(t, "the caBundle edited twice", false)
}

// down: without a replica, admissions pass, except in namespaces that fail closed.
func (c *lifeCycle) down(t *testing.T) {
	for _, replica := range c.replicas {
		replica.terminate(t)
	}
	c.balancer.set()
	if _, err := admit(t.Context(), "shop", c.image); err != nil {
		t.Errorf("fail-open: %v", err)
	}
	if _, err := admit(t.Context(), "closed", c.image); err == nil ||
		!strings.Contains(err.Error(), `failed calling webhook "closed.pods.capvet.dev"`) {
		t.Errorf("fail-closed: %v", err)
	}
}

// uninstall: helm uninstall removes the configuration and the certificate, and keeps the policy kinds.
func (c *lifeCycle) uninstall(t *testing.T) {
	if output, err := helm(t, nil, "uninstall", "capvet", "--namespace", releaseNamespace); err != nil {
		t.Fatalf("%v %s", err, output)
	}
	left := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Name: "capvet"}, left); !apierrors.IsNotFound(err) {
		t.Errorf("the webhook configuration: %v", err)
	}
	for _, namespace := range []string{"shop", "strict", "closed", "plain"} {
		eventually(t, func(ctx context.Context) error {
			_, err := admit(ctx, namespace, c.image)
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
