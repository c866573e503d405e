package imagescan

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestResolveTogether: concurrent requests for one image with the same credentials
// send one request to the registry. If its caller gives up, the others still get an
// answer.
func TestResolveTogether(t *testing.T) {
	const many = 50
	s := newServer(t)
	ref := s.push(t, "together:x", imageOf(t, "arm64", gzipped(archive("haproxy", "a"))))
	scanner := newScanner(t, s, nil, func(o *setup) { o.ResolutionTTL = time.Hour })
	manifests, gate := atomic.Int64{}, make(chan struct{})
	s.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			if manifests.Add(1) == 1 { // the first never gets its answer
				<-r.Context().Done()
				return true
			}
			<-gate
		}
		return false
	})
	ctx, giveUp := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := scanner.Scan(ctx, Request{Reference: ref, Platform: "linux/arm64"})
		first <- err
	}()
	for manifests.Load() == 0 {
		runtime.Gosched()
	}
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			if _, err := scan(t, scanner, ref); err != nil {
				t.Error(err)
			}
		})
	}
	giveUp()
	if err := <-first; err == nil {
		t.Error("the first has an answer though it gave up")
	}
	close(gate)
	all.Wait()
	if n := manifests.Load(); n != 2 {
		t.Errorf("%d requests for the manifest, want that of the cancelled caller and one for all others", n)
	}
}
