package registry

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestAccess(t *testing.T) {
	for _, tt := range []struct {
		allow, deny []string
		host        string
		want        bool
	}{
		{nil, nil, "example.com", true},
		{[]string{"*.example.com"}, nil, "r.example.com", true},
		{[]string{"*.example.com"}, nil, "example.com", false},
		{[]string{"*.example.com"}, nil, "r.example.com:5000", false},
		{[]string{"*.example.com:*"}, nil, "r.example.com:5000", true},
		{[]string{"docker.io"}, nil, "index.docker.io", true},
		{nil, []string{"docker.io"}, "index.docker.io", false},
		{[]string{"*"}, []string{"evil.com"}, "evil.com", false},
		{[]string{"*"}, []string{"evil.com"}, "good.com", true},
	} {
		err := Access{tt.allow, tt.deny}.check(tt.host)
		if (err == nil) != tt.want {
			t.Errorf("allow %v, deny %v, %s: %v", tt.allow, tt.deny, tt.host, err)
		}
	}
	if _, err := NewClient(Options{Access: Access{Deny: []string{"["}}}); err == nil {
		t.Error("a broken glob is taken")
	}
}

// TestCertificates: a registry's certificate of a private authority is trusted with
// that authority only.
func TestCertificates(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	dir := t.TempDir()
	file, junk := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "junk.pem")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		files  []string
		loads  bool
		trusts bool
	}{
		{"the system's", nil, true, false},
		{"its own", []string{file}, true, true},
		{"no file", []string{filepath.Join(dir, "none")}, false, false},
		{"no certificate", []string{junk}, false, false},
	} {
		config, err := WithCertificates(tt.files)
		if (err == nil) != tt.loads {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil {
			continue
		}
		transport := NewTransport(TransportOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, TLS: config})
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		if (err == nil) != tt.trusts {
			t.Errorf("%s: %v", tt.name, err)
		}
		transport.(*schemeGuard).next.(*http.Transport).CloseIdleConnections()
	}
}
