//go:build chart

package chart

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
)

// servedCertificate returns the certificate that a server shows.
func servedCertificate(ctx context.Context, address string) (*x509.Certificate, error) {
	connection, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// passes waits until a replica shows another certificate than before, and for some
// more admissions after that.
func (l *load) passes(t *testing.T, r *replica, before *x509.Certificate) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		now, err := servedCertificate(ctx, r.address)
		if err == nil && now.Equal(before) {
			err = errors.New("the old certificate is served still")
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
}

// TestProvidedCertificate installs with a certificate from outside, and replaces
// it under load as a kubelet replaces a Secret's files.
func TestProvidedCertificate(t *testing.T) {
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	createNamespaces(t, map[string]map[string]string{"provided": {"capvet.dev/mode": "warn"}, releaseNamespace: nil})
	type pair struct{ certificate, key []byte }
	var pairs [2]pair
	for i := range pairs {
		var err error
		if pairs[i].certificate, pairs[i].key, err = cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)},
			nil); err != nil {
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
	newRelease(b, host, "--set", "certificates.mode=secret", "--set", "certificates.secretName=provided",
		"--set-file", "certificates.caBundle="+bundle, "--set", "log.level=error").apply(t, "install")
	uninstallAfter(t)
	replica := startReplica(t, releaseNamespace, "capvet")
	replica.awaitReady(t)
	b.set(replica)
	eventually(t, judged("provided", image))

	before, err := servedCertificate(t.Context(), replica.address)
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
	l.passes(t, replica, before)
	l.report(t, "a provided certificate replaced", true)
	if err := replica.ready(t.Context()); err != nil {
		t.Errorf("not ready afterwards: %v", err)
	}
	if log, err := os.ReadFile(replica.Log); err != nil || strings.Contains(string(log), `"INFO"`) {
		t.Errorf("log.level=error, and yet: %s %v", log, err)
	}
}
