package reviewserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clientAuthority signs client certificates.
type clientAuthority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newClientAuthority(t *testing.T) clientAuthority {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return clientAuthority{template, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a clientAuthority) sign(t *testing.T, subject, dnsName string, notAfter time.Time, usage x509.ExtKeyUsage) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: subject}, NotAfter: notAfter, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	if dnsName != "" {
		template.DNSNames = []string{dnsName}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestClients(t *testing.T) {
	ours, others := newClientAuthority(t), newClientAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ours.pem)
	o := roomy()
	o.ClientCAFile, o.ClientNames = file, []string{"apiserver", "api.example.com"}
	s := newServer(t, o, allow).start(t)
	ask := func(certificate *tls.Certificate) int {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		if certificate != nil { // shown whatever authorities are asked for
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
		}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport}).Post("https://"+s.address+path, "application/json", strings.NewReader(aReview))
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	later, client := time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth
	for _, tt := range []struct {
		name        string
		certificate *tls.Certificate
		want        int // 0: no connection
	}{
		{"none", nil, http.StatusUnauthorized},
		{"the API server's", ours.sign(t, "apiserver", "", later, client), http.StatusOK},
		{"the API server's, by DNS name", ours.sign(t, "", "api.example.com", later, client), http.StatusOK},
		{"another's of the same authority", ours.sign(t, "system:node:a", "node-a", later, client), http.StatusForbidden},
		{"nobody's", ours.sign(t, "", "", later, client), http.StatusForbidden},
		{"of another authority", others.sign(t, "apiserver", "", later, client), 0},
		{"expired", ours.sign(t, "apiserver", "", time.Now().Add(-time.Minute), client), 0},
		{"a server's", ours.sign(t, "apiserver", "", later, x509.ExtKeyUsageServerAuth), 0},
	} {
		if got := ask(tt.certificate); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
	// A file that breaks leaves what was; one that changes holds at once.
	before, after := ours.sign(t, "apiserver", "", later, client), others.sign(t, "apiserver", "", later, client)
	write([]byte("nothing of use"))
	if got := ask(before); got != http.StatusOK {
		t.Errorf("with a broken file: status %d", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := ask(before); got != http.StatusOK {
		t.Errorf("without the file: status %d", got)
	}
	write(append([]byte("# new\n"), others.pem...))
	if got := [2]int{ask(before), ask(after)}; got != [2]int{0, http.StatusOK} {
		t.Errorf("after a change: %v", got)
	}
	if s.clients.accepts(&x509.Certificate{Subject: pkix.Name{CommonName: "apiserver"}, NotAfter: time.Now()}, time.Now().Add(time.Minute)) {
		t.Error("a certificate that has expired since is let in")
	}
}

func TestNewClients(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		empty:                      "holds no certificate in PEM form",
		filepath.Join(dir, "none"): "no such file",
	} {
		if _, err := newClients(file, []string{"apiserver"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", file, err, want)
		}
	}
	open, err := newClients("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := open.authenticate(nil); err != nil || status != http.StatusOK {
		t.Errorf("without authorities: %d %v", status, err)
	}
}
