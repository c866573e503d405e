//go:build chart

package chart

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// outage is the length of each outage. It exceeds the time in which readiness
// would notice one.
const outage = 6 * time.Second

// TestControlPlaneFails stops the API server, then etcd, then the replicas until
// their certificate has expired. During an outage an admission may fail, or get
// the action of onScanError, since capvet reads pull secrets from the API server.
// While a replica runs, no Pod may pass without a warning. Afterwards all recover
// without help.
func TestControlPlaneFails(t *testing.T) {
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	createNamespaces(t, map[string]map[string]string{
		"outage": {"capvet.dev/mode": "warn"}, "outage-closed": {"capvet.dev/mode": "warn", "capvet.dev/fail": "closed"},
	})
	r := newRelease(b, host, "--set", "webhook.failClosed.enabled=true")
	r.apply(t, "install")
	uninstallAfter(t)
	replicas := r.serve(t, shared.webhook)
	eventually(t, judged("outage", image))

	// without takes something away under load and brings it back.
	without := func(what string, kill func(context.Context) error, start func() error) {
		t.Run(what, func(t *testing.T) {
			l := startLoad(t, "outage", image)
			time.Sleep(time.Second)
			if err := kill(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(outage)
			if err := start(); err != nil {
				t.Fatal(err)
			}
			before := l.admitted.Load()
			eventually(t, judged("outage", image))
			time.Sleep(time.Second)
			l.stop()
			l.print(fmt.Sprintf("%s gone for %s", what, outage))
			if l.unjudged.Load() > 0 {
				t.Errorf("%d Pods were admitted unjudged, the first with %s; the API server says:\n%s", l.unjudged.Load(), *l.firstUnjudged.Load(),
					failedCalls(t))
			}
			if l.admitted.Load() == before {
				t.Error("no Pod is judged any more")
			}
			for _, replica := range replicas {
				replica.awaitReady(t)
			}
		})
	}
	without("the API server", shared.cluster.KillAPIServer, shared.cluster.StartAPIServer)
	without("etcd", shared.cluster.KillEtcd, shared.cluster.StartEtcd)

	t.Run("expired", func(t *testing.T) { expired(t, r, replicas, image) })
	t.Run("expired meanwhile", func(t *testing.T) { expiredMeanwhile(t, r, image) })
}

// expired: replicas that come back after their certificate's end make a new one.
func expired(t *testing.T, r release, replicas []*replica, image string) {
	for _, replica := range replicas {
		replica.terminate(t)
	}
	r.balancer.set()
	if _, err := admit(t.Context(), "outage-closed", image); !apierrors.IsInternalError(err) ||
		!strings.Contains(err.Error(), "closed.pods.capvet.dev") {
		t.Errorf("fail-closed, without a replica: %v", err)
	}
	// A certificate that is short-lived from here on.
	r.apply(t, "upgrade", "--set", "certificates.lifetime=12s", "--set", "certificates.trustDelay=2s")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: releaseNamespace, Name: "capvet-tls"}}
	if err := shared.cluster.Client.Patch(t.Context(), secret, client.RawPatch(types.MergePatchType, []byte(`{"data":null}`))); err != nil {
		t.Fatal(err)
	}
	first := startReplica(t, releaseNamespace, "capvet")
	first.awaitReady(t)
	first.Kill()
	if err := shared.cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: releaseNamespace, Name: "capvet-tls"},
		secret); err != nil {
		t.Fatal(err)
	}
	old := parseCertificate(t, secret.Data["tls.crt"])
	time.Sleep(time.Until(old.NotAfter.Add(time.Second)))
	l := startLoad(t, "outage", image)
	replica := startReplica(t, releaseNamespace, "capvet")
	replica.awaitReady(t)
	r.balancer.set(replica)
	eventually(t, judged("outage", image))
	eventually(t, judged("outage-closed", image))
	time.Sleep(time.Second)
	l.report(t, "a certificate that expired while all replicas were down", false)
	if err := shared.cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: releaseNamespace, Name: "capvet-tls"},
		secret); err != nil {
		t.Fatal(err)
	}
	if parseCertificate(t, secret.Data["tls.crt"]).Equal(old) {
		t.Error("the expired certificate is still there")
	}
	if log, err := os.ReadFile(replica.Log); err != nil || !strings.Contains(string(log), "updated the shared certificate") {
		t.Errorf("the replica's log does not mention a new certificate: %v", err)
	}
}

// expiredMeanwhile: running replicas whose certificate ends while the API server is away make a new one when it is back.
func expiredMeanwhile(t *testing.T, r release, image string) {
	replicas := r.serve(t, shared.webhook)
	l := startLoad(t, "outage", image)
	time.Sleep(time.Second)
	if err := shared.cluster.KillAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := time.Now().Add(12 * time.Second) // the end of every certificate
	time.Sleep(time.Until(all.Add(time.Second)))
	if err := shared.cluster.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	eventually(t, judged("outage", image))
	for _, replica := range replicas {
		replica.awaitReady(t)
		select {
		case <-replica.Ended():
			t.Errorf("a replica ended:\n%s", replica.Tail())
		default:
		}
	}
	before := l.admitted.Load()
	time.Sleep(time.Second)
	l.stop()
	l.print("certificates that expired while the API server was away")
	if l.admitted.Load() == before {
		t.Error("no Pod is judged any more")
	}
	secret := &corev1.Secret{}
	if err := shared.cluster.Client.Get(t.Context(), types.NamespacedName{Namespace: releaseNamespace, Name: "capvet-tls"},
		secret); err != nil {
		t.Fatal(err)
	}
	if !parseCertificate(t, secret.Data["tls.crt"]).NotAfter.After(all) {
		t.Error("an expired certificate is still there")
	}
}

func parseCertificate(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	certificates, err := cert.ParseCertsPEM(text)
	if err != nil {
		t.Fatal(err)
	}
	return certificates[0]
}
