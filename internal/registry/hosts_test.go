package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
)

var testRules = requestRules{pace{DefaultStallBytes, DefaultStallTime}}

// anywhere are options that permit connections to loopback.
var anywhere = TransportOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// hostsOf loads the configuration of one registry.
func hostsOf(t *testing.T, folder, content string) (*hosts, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, folder, "hosts.toml"), content)
	write(t, filepath.Join(dir, "README"), "not a folder")
	return loadHosts(dir, endpointOptions{TransportOptions: anywhere, rules: testRules}, nil)
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		name, folder, content, registry string
		want                            []string // base, what it may be asked, whether it is a mirror
	}{
		{"none", "other.com", ``, "example.com", []string{"https://example.com/v2 pr"}},
		{"empty", "example.com", ``, "example.com", []string{"https://example.com/v2 pr"}},
		{"mirrors in their order", "example.com", "[host.\"https://z\"]\n[host.\"http://a:5000\"]\ncapabilities=[\"pull\"]\n", "example.com",
			[]string{"https://z/v2 pr mirror", "http://a:5000/v2 p mirror", "https://example.com/v2 pr"}},
		{"another server", "example.com", `server="https://cache.example.com/proxy"`, "example.com",
			[]string{"https://cache.example.com/proxy/v2 pr mirror"}},
		{"a path of its own", "example.com", "[host.\"https://m/api/images\"]\noverride_path=true\n", "example.com",
			[]string{"https://m/api/images pr mirror", "https://example.com/v2 pr"}},
		{"a path that is the usual", "example.com", "[host.\"https://m/v2\"]", "example.com",
			[]string{"https://m/v2 pr mirror", "https://example.com/v2 pr"}},
		{"Docker Hub", "docker.io", `server="https://registry-1.docker.io"`, "index.docker.io", []string{"https://index.docker.io/v2 pr"}},
		{"for all", "_default", "[host.\"https://m\"]", "example.com", []string{"https://m/v2 pr mirror", "https://example.com/v2 pr"}},
		{"a port", "example.com:5000", "[host.\"https://m\"]", "example.com:5000",
			[]string{"https://m/v2 pr mirror", "https://example.com:5000/v2 pr"}},
		{"a port without colons", "example.com_5000_", "[host.\"https://m\"]", "example.com:5000",
			[]string{"https://m/v2 pr mirror", "https://example.com:5000/v2 pr"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hosts, err := hostsOf(t, tt.folder, tt.content)
			if err != nil {
				t.Fatal(err)
			}
			registry, err := name.NewRegistry(tt.registry)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range hosts.endpoints(registry, nil, false) {
				line := e.base.String() + " "
				if e.pull {
					line += "p"
				}
				if e.resolve {
					line += "r"
				}
				if e.mirror {
					line += " mirror"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, broken := range []string{
		`server=`, `server="ftp://x"`, `server="https://user:p@x"`, `ca=1`, `ca="none.pem"`, `ca=[1]`,
		`client=[["a"],["b","c","d"]]`, `client="none.pem"`,
		"[header]\nx=1", "[host.\"::\"]",
	} {
		if _, err := hostsOf(t, "example.com", broken); err == nil || !strings.Contains(err.Error(), "hosts.toml") {
			t.Errorf("%q: %v", broken, err)
		}
	}
	if _, err := loadHosts(filepath.Join(t.TempDir(), "none"), endpointOptions{TransportOptions: anywhere}, nil); err == nil {
		t.Error("a folder that is not there is taken")
	}
}

// TestClientCertificate: the connection to a mirror uses the client certificate and
// the certificate authority of its file.
func TestClientCertificate(t *testing.T) {
	shown := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown <- r.TLS.PeerCertificates[0].Subject.CommonName
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	folder := filepath.Join(dir, "example.com")
	write(t, filepath.Join(folder, "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	certificate, key := clientCertificate(t, "node-1")
	write(t, filepath.Join(folder, "client.pem"), certificate)
	write(t, filepath.Join(folder, "key.pem"), key)
	write(t, filepath.Join(folder, "hosts.toml"), fmt.Sprintf("[host.%q]\nca=\"ca.pem\"\nclient=[[\"client.pem\",\"key.pem\"]]\n", server.URL))
	hosts, err := loadHosts(dir, endpointOptions{TransportOptions: anywhere, rules: testRules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := name.NewRegistry("example.com")
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := hosts.endpoints(registry, nil, false)[0].transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if subject := <-shown; subject != "node-1" {
		t.Errorf("the client certificate is %q's", subject)
	}
}

// clientCertificate returns a self-signed certificate and its key.
func clientCertificate(t *testing.T, commonName string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	template.Subject.CommonName = commonName
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY",
		Bytes: encoded}))
}

// TestHostsReload: a changed configuration takes effect soon, a broken one does not.
func TestHostsReload(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "example.com", "hosts.toml")
	write(t, file, `[host."https://first"]`)
	hosts, err := loadHosts(dir, endpointOptions{TransportOptions: anywhere, rules: testRules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	hosts.now = func() time.Time { return now }
	var failures []string
	hosts.onReloadError = func(err error) { failures = append(failures, err.Error()) }
	hostOf := func(registry string) string {
		t.Helper()
		r, err := name.NewRegistry(registry)
		if err != nil {
			t.Fatal(err)
		}
		return hosts.endpoints(r, nil, false)[0].base.Host
	}
	authority := filepath.Join(dir, "ca.pem")
	for i, step := range []struct {
		file, content   string
		at              time.Duration
		host            string
		other, failures string
	}{
		{host: "first", other: "other.com"},
		{file: file, content: `[host."https://second"]`, at: time.Second, host: "first", other: "other.com"}, // not checked yet
		{at: hostsInterval, host: "second", other: "other.com"},
		{file: file, content: `[host.`, at: hostsInterval, host: "second", other: "other.com", failures: "x"},
		{at: hostsInterval, host: "second", other: "other.com", failures: "x"}, // reported once
		{file: file, content: `[host."https://third"]` + "\nca=\"../ca.pem\"\n", at: hostsInterval, host: "second", other: "other.com",
			failures: "xx"},
		{file: authority, content: string(authorityOf(t)), at: hostsInterval, host: "third", other: "other.com", failures: "xx"},
		{file: authority, content: "broken", at: hostsInterval, host: "third", other: "other.com", failures: "xxx"},
		{file: authority, content: string(authorityOf(t)), at: hostsInterval, host: "third", other: "other.com", failures: "xxx"},
		{file: filepath.Join(dir, "other.com", "hosts.toml"), content: `[host."https://new"]`, at: hostsInterval, host: "third", other: "new",
			failures: "xxx"},
		{file: filepath.Join(dir, "new.com", "hosts.toml"), content: `[host.`, at: hostsInterval, host: "third", other: "new", failures: "xxxx"},
	} {
		if step.file != "" {
			write(t, step.file, step.content)
			// Two writes may fall within the resolution of the file system's clock.
			at := now.Add(time.Duration(i) * time.Minute)
			for _, changed := range []string{step.file, dir} {
				if err := os.Chtimes(changed, at, at); err != nil {
					t.Fatal(err)
				}
			}
		}
		now = now.Add(step.at)
		if got, other := hostOf("example.com"), hostOf("other.com"); got != step.host || other != step.other ||
			len(failures) != len(step.failures) {
			t.Errorf("step %d: asks %s and %s, want %s and %s; failures %q", i, got, other, step.host, step.other, failures)
		}
	}
}

// authorityOf returns a certificate in PEM form.
func authorityOf(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
