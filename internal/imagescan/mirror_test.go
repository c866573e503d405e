package imagescan

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/report"
)

// TestMirror: requests go to the mirror first, without credentials, and to the
// registry for missing content and for requests outside the mirror's capabilities.
func TestMirror(t *testing.T) {
	origin, mirror := newServer(t), newServer(t)
	layer := gzipped(archive("haproxy", "a"))
	image := imageOf(t, "arm64", layer)
	ref := origin.push(t, "team/x:y", image)
	mirror.push(t, "team/x:y", image)
	fromOrigin, fromMirror := &counter{}, &counter{}
	origin.fail(func(w http.ResponseWriter, r *http.Request) bool {
		fromOrigin.count(w, r)
		if user, _, _ := r.BasicAuth(); user == "alice" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	credentials := userPassword{[][2]string{{"alice", "p"}}}
	for _, tt := range []struct {
		name         string
		capabilities string
		fault        func(http.ResponseWriter, *http.Request) bool
		credentials  Credentials
		want         report.FailureClass
		registry     int // layers that came from there
	}{
		{name: "all from the mirror", capabilities: `["pull","resolve"]`},
		{name: "tags from the registry", capabilities: `["pull"]`, credentials: credentials},
		{name: "tags from the registry, without access", capabilities: `["pull"]`, want: report.FailureUnauthorized},
		{name: "a mirror without the layer", capabilities: `["pull","resolve"]`, fault: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, digest(t, layer)) {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			return false
		}, credentials: credentials, registry: 1},
		{name: "a mirror that is down", capabilities: `["pull","resolve"]`,
			fault: func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, credentials: credentials, registry: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mirror.fail(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") != "" {
					t.Error("the mirror got credentials")
				}
				if strings.Contains(r.URL.Path, "/manifests/") && (r.URL.Query().Get("ns") != origin.host() || r.Header.Get("X-Extra") != "yes") {
					t.Errorf("the mirror was asked %s with %v", r.URL, r.Header)
				}
				fromMirror.count(w, r)
				return tt.fault != nil && tt.fault(w, r)
			})
			dir := t.TempDir()
			folder := filepath.Join(dir, origin.host())
			content := fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = %s\n[host.%q.header]\nx-extra = \"yes\"\n", origin.URL, mirror.URL,
				tt.capabilities, mirror.URL)
			if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "hosts.toml"), []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
			before := fromOrigin.of(digest(t, layer))
			scanner := newScanner(t, origin, nil, func(o *setup) { o.client.HostsDir = dir })
			r, err := scanner.Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64", Credentials: tt.credentials})
			if class(err) != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err == nil && len(r.Binaries) != 1 {
				t.Errorf("got %v", binaries(r))
			}
			if got := fromOrigin.of(digest(t, layer)) - before; err == nil && (got > 0) != (tt.registry > 0) {
				t.Errorf("the registry was asked for the layer %d times", got)
			}
		})
	}
}

// TestPrivateAddressWithTLS: unlike in go-containerregistry, a private address does
// not imply plain HTTP, and a registry of PlainHTTP is never tried with TLS.
func TestPrivateAddressWithTLS(t *testing.T) {
	for _, plain := range []bool{false, true} {
		var schemes []string
		want := "https"
		scanner := newScanner(t, nil, nil, func(o *setup) {
			o.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				schemes = append(schemes, r.URL.Scheme)
				return &http.Response{StatusCode: http.StatusForbidden, Body: http.NoBody, Request: r}, nil
			})
			if plain {
				o.client.PlainHTTP, want = []string{"10.0.0.1:5000"}, "http"
			}
		})
		if _, err := scan(t, scanner, "10.0.0.1:5000/x:y"); err == nil {
			t.Error("no error")
		}
		if len(schemes) == 0 || schemes[0] != want {
			t.Errorf("plain %v: asked with %v", plain, schemes)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
