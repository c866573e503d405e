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

// front is a proxy before a registry: it counts requests, and answers some with a
// test's fault.
type front struct {
	*httptest.Server
	proxy    http.Handler // to the registry
	requests atomic.Int64
	blobs    atomic.Int64 // those of requests that are for a blob

	mu     sync.Mutex
	faults map[string]http.HandlerFunc // by a part of the path
	gets   map[string]int              // of blobs, by path
}

func newFront(host string) *front {
	f := &front{faults: map[string]http.HandlerFunc{}, gets: map[string]int{}}
	f.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if strings.Contains(r.URL.Path, "/blobs/") {
			f.blobs.Add(1)
			if r.Method == http.MethodGet {
				f.mu.Lock()
				f.gets[r.URL.Path]++
				f.mu.Unlock()
			}
		}
		if fault := f.faultFor(r.URL.Path); fault != nil {
			fault(w, r)
			return
		}
		f.proxy.ServeHTTP(w, r)
	}))
	return f
}

// Host returns host:port, as it stands in an image reference.
func (f *front) Host() string { return strings.TrimPrefix(f.URL, "http://") }

// fetched returns how often each blob under a part of the path was fetched.
func (f *front) fetched(part string) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	gets := map[string]int{}
	for path, n := range f.gets {
		if strings.Contains(path, part) {
			gets[path] = n
		}
	}
	return gets
}

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
