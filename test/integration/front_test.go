//go:build integration

package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
)

// front stands before a registry: it counts requests, and answers those that a
// test has a fault for.
type front struct {
	*httptest.Server
	requests atomic.Int64
	blobs    atomic.Int64 // those of requests that are for a blob

	mu     sync.Mutex
	faults map[string]http.HandlerFunc // by a part of the path
}

func newFront(host string) *front {
	f := &front{faults: map[string]http.HandlerFunc{}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if strings.Contains(r.URL.Path, "/blobs/") {
			f.blobs.Add(1)
		}
		if fault := f.faultFor(r.URL.Path); fault != nil {
			fault(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	return f
}

// Host returns host:port, as it stands in an image reference.
func (f *front) Host() string { return strings.TrimPrefix(f.URL, "http://") }

func (f *front) faultFor(path string) http.HandlerFunc {
	f.mu.Lock()
	defer f.mu.Unlock()
	for part, fault := range f.faults {
		if strings.Contains(path, part) {
			return fault
		}
	}
	return nil
}

// fail answers requests whose path contains part, until restore is called.
func (f *front) fail(part string, fault http.HandlerFunc) (restore func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[part] = fault
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.faults, part)
	}
}
