//go:build chart

package chart

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
)

// TestProvidedCertificate installs with a certificate that somebody else keeps,
// and has it replaced under load as a kubelet replaces a Secret's files.
func TestProvidedCertificate(t *testing.T) {
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	for name, labels := range map[string]map[string]string{"provided": {"capvet.dev/mode": "warn"}, releaseNamespace: nil} {
		if err := shared.cluster.CreateNamespace(t.Context(), name, labels); err != nil {
			t.Fatal(err)
		}
	}
	type pair struct{ certificate, key []byte }
	var pairs [2]pair
	for i := range pairs {
		var err error
		if pairs[i].certificate, pairs[i].key, err = cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: releaseNamespace, Name: "provided"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": pairs[0].certificate, "tls.key": pairs[0].key}}
	if err := shared.cluster.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.cluster.Client.Delete(context.Background(), secret) })
	bundle := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(bundle, append(pairs[0].certificate, pairs[1].certificate...), 0o600); err != nil {
		t.Fatal(err)
	}
	newRelease(b, host, "--set", "certificates.mode=secret", "--set", "certificates.secretName=provided", "--set-file", "certificates.caBundle="+bundle).apply(t, "install")
	uninstallAfter(t)
	replica := startReplica(t, releaseNamespace, "capvet")
	replica.awaitReady(t)
	b.set(replica)
	eventually(t, judged("provided", image))

	serial := func(ctx context.Context) (string, error) {
		connection, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", replica.address)
		if err != nil {
			return "", err
		}
		defer connection.Close()
		return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	before, err := serial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, "provided", image)
	if err := errors.Join(
		os.WriteFile(filepath.Join(replica.certificates, "tls.crt"), pairs[1].certificate, 0o600),
		os.WriteFile(filepath.Join(replica.certificates, "tls.key"), pairs[1].key, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		now, err := serial(ctx)
		if err == nil && now == before {
			err = fmt.Errorf("the certificate %s is served still", now)
		}
		return err
	})
	enough := l.admitted.Load() + 200
	eventually(t, func(context.Context) error {
		if got := l.admitted.Load(); got < enough {
			return fmt.Errorf("%d admissions, fewer than %d", got, enough)
		}
		return nil
	})
	l.report(t, "a provided certificate replaced", true)
	if err := replica.ready(t.Context()); err != nil {
		t.Errorf("not ready afterwards: %v", err)
	}
}
