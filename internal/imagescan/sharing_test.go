package imagescan

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/report"
)

// counter counts a registry's answers by resource.
type counter struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *counter) count(_ http.ResponseWriter, r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	if strings.Contains(r.URL.Path, "/manifests/") {
		c.seen["manifests"]++
	} else if strings.Contains(r.URL.Path, "/blobs/") {
		c.seen[path.Base(r.URL.Path)]++
	}
	return false
}

func (c *counter) of(resource string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[resource]
}

func digest(t *testing.T, stored []byte) string {
	t.Helper()
	d, err := static.NewLayer(stored, types.OCILayer).Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func noise(t *testing.T, size int) string {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSharedBase: a second image on the same base reads only its new layers, and a
// cold scan reads the manifest once.
func TestSharedBase(t *testing.T) {
	s := newServer(t)
	base := gzipped(archive("usr/", "", "usr/sbin/haproxy", "a", "base/x", noise(t, 1000)))
	other := gzipped(archive("usr/", "", "opt/bin", "b"))
	link := gzipped(archive("opt/haproxy", "->bin"))
	first := s.push(t, "first:x", imageOf(t, "arm64", base))
	second := s.push(t, "second:x", imageOf(t, "arm64", base, other))
	third := s.push(t, "third:x", imageOf(t, "arm64", base, other, link))
	f, c := &fake{}, &counter{}
	s.fail(c.count)
	scanner := newScanner(t, s, f, nil)
	for _, tt := range []struct {
		ref                                string
		want                               []string
		manifests, base, other, link, runs int // so far
	}{
		{ref: first, want: []string{"/usr/sbin/haproxy=a"}, manifests: 1, base: 1, runs: 1},
		{ref: second, want: []string{"/usr/sbin/haproxy=a"}, manifests: 2, base: 1, other: 1, runs: 1},
		// The link selects a file of a cached layer, which is read again.
		{ref: third, want: []string{"/opt/bin=b", "/usr/sbin/haproxy=a"}, manifests: 3, base: 1, other: 2, link: 1, runs: 2},
		{ref: third, want: []string{"/opt/bin=b", "/usr/sbin/haproxy=a"}, manifests: 4, base: 1, other: 2, link: 1, runs: 2},
	} {
		r, err := scan(t, scanner, tt.ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, binaries(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.ref, diff)
		}
		got := []int{c.of("manifests"), c.of(digest(t, base)), c.of(digest(t, other)), c.of(digest(t, link)), int(f.calls.Load())}
		if diff := cmp.Diff([]int{tt.manifests, tt.base, tt.other, tt.link, tt.runs}, got); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tt.ref, diff)
		}
	}
}

// TestRegistriesVouchForThemselves: a layer cached for one registry is not used for
// another, which may name digests that it does not hold.
func TestRegistriesVouchForThemselves(t *testing.T) {
	honest, liar := newServer(t), newServer(t)
	layer := gzipped(archive("haproxy", "secret"))
	image := imageOf(t, "arm64", layer)
	known, claimed := honest.push(t, "x:y", image), liar.push(t, "x:y", image)
	liar.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, digest(t, layer)) {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	scanner := newScanner(t, honest, &fake{}, func(o *setup) {
		o.client.PlainHTTP = append(o.client.PlainHTTP, liar.host())
		o.client.Transport = loopback(o.client.PlainHTTP)
	})
	if _, err := scan(t, scanner, known); err != nil {
		t.Fatal(err)
	}
	if r, err := scan(t, scanner, claimed); class(err) != report.FailureNotFound {
		t.Errorf("got %v, %v", binaries(r), err)
	}
}

// TestLayerCacheIsBounded: the cache evicts the least recently used summaries.
func TestLayerCacheIsBounded(t *testing.T) {
	empty, size := summaryOf(t), summaryOf(t).Bytes()
	c := newLayerCache(3 * size)
	for i := range 4 {
		c.add(layerKey{digest: fmt.Sprint(i)}, empty)
		c.get(layerKey{digest: "0"})
	}
	var cached []string
	for i := range 4 {
		if _, ok := c.get(layerKey{digest: fmt.Sprint(i)}); ok {
			cached = append(cached, fmt.Sprint(i))
		}
	}
	if diff := cmp.Diff([]string{"0", "2", "3"}, cached); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	big := summaryOf(t, "1/haproxy", "", "2/haproxy", "", "3/haproxy", "")
	if c.add(layerKey{digest: "big"}, big); big.Bytes() <= 3*size || c.bytes != 3*size {
		t.Errorf("%d bytes, after one of %d", c.bytes, big.Bytes())
	}
	if c.add(layerKey{digest: "0"}, empty); c.bytes != 3*size {
		t.Errorf("%d bytes after adding the same again", c.bytes)
	}
}

// summaryOf returns the summary of a layer of files, as archive takes them.
func summaryOf(t *testing.T, files ...string) *layers.Summary {
	t.Helper()
	stored := archive(files...)
	digest, size, err := v1.SHA256(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(stored)), nil }
	summary, err := newScanner(t, nil, nil, nil).reader.Summarize(t.Context(), layers.Blob{Digest: digest, Size: size, Open: open}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

func early(t *testing.T, s *Scanner, reference string) (report.Report, error) {
	t.Helper()
	return s.Scan(t.Context(), Request{Reference: reference, Platform: "linux/arm64", Early: true})
}

// TestEarly: which images answer before their lowest layer is read.
func TestEarly(t *testing.T) {
	s := newServer(t)
	bottom := gzipped(archive("other", noise(t, smallLayer+1)))
	for i, tt := range []struct {
		name  string
		upper [][]byte
		early bool
	}{
		{"legacy, all parents there", [][]byte{gzipped(archive("usr/", "", "usr/sbin/", "", "usr/sbin/haproxy", "v1"))}, true},
		{"parents higher up", [][]byte{gzipped(archive("usr/sbin/haproxy", "v1")), gzipped(archive("usr/", "", "usr/sbin/", ""))}, true},
		{"in the root", [][]byte{gzipped(archive("haproxy", "v1"))}, true},
		{"a parent may be a link below", [][]byte{gzipped(archive("usr/sbin/", "", "usr/sbin/haproxy", "v1"))}, false},
		{"not legacy", [][]byte{gzipped(archive("haproxy", "fine"))}, false},
		{"removed above", [][]byte{gzipped(archive("haproxy", "v1")), gzipped(archive(".wh.haproxy", ""))}, false},
		{"another on top", [][]byte{gzipped(archive("haproxy", "v1")), gzipped(archive("haproxy", "fine"))}, false},
		{"reached by a link", [][]byte{gzipped(archive("x", "v1", "haproxy", "->x"))}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := s.push(t, fmt.Sprintf("early/%d:x", i), imageOf(t, "arm64", append([][]byte{bottom}, tt.upper...)...))
			release := make(chan struct{})
			s.fail(func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, digest(t, bottom)) {
					<-release
				}
				return false
			})
			defer s.fail(nil)
			scanner := newScanner(t, s, &fake{}, nil)
			if !tt.early {
				close(release) // or this would wait for ever
			}
			r, err := early(t, scanner, ref)
			if err != nil {
				t.Fatal(err)
			}
			if r.Complete == tt.early {
				t.Fatalf("complete: %v; %v", r.Complete, binaries(r))
			}
			if !tt.early {
				return
			}
			if len(r.Binaries) != 1 || len(r.Gaps) != 1 || r.Gaps[0].Reason != "early" {
				t.Errorf("got %v", binaries(r))
			}
			// A request for the complete report waits for the same scan.
			close(release)
			if r, err = scan(t, scanner, ref); err != nil || !r.Complete || len(r.Binaries) != 1 {
				t.Errorf("afterwards: %v, %v", r, err)
			}
			if r, err = early(t, scanner, ref); err != nil || !r.Complete {
				t.Errorf("once it is known: %v, %v", r, err)
			}
		})
	}
}

// TestStopEarly: a sufficient early answer ends the reading.
func TestStopEarly(t *testing.T) {
	s := newServer(t)
	bottom := gzipped(archive("other", noise(t, smallLayer+1)))
	ref := s.push(t, "stop:x", imageOf(t, "arm64", bottom, gzipped(archive("haproxy", "v1"))))
	c := &counter{}
	s.fail(c.count)
	scanner := newScanner(t, s, &fake{}, func(o *setup) { o.StopEarly = true })
	r, err := early(t, scanner, ref)
	if err != nil || r.Complete || len(r.Binaries) != 1 {
		t.Fatalf("got %v, %v", r, err)
	}
	if n := c.of(digest(t, bottom)); n != 0 {
		t.Errorf("the large layer below was asked for %d times", n)
	}
	if r, err = scan(t, scanner, ref); err != nil || !r.Complete {
		t.Errorf("whole: %v, %v", r, err)
	}
}

// TestLayersInParallel: the concurrent layers reach, and do not exceed, their limit.
func TestLayersInParallel(t *testing.T) {
	s := newServer(t)
	blobs := [][]byte{gzipped(archive("a", "1")), gzipped(archive("b", "2")), gzipped(archive("c", "3")), gzipped(archive("d", "4"))}
	ref := s.push(t, "parallel:x", imageOf(t, "arm64", blobs...))
	var mu sync.Mutex
	running, most := 0, 0
	isLayer := map[string]bool{}
	for _, l := range blobs {
		isLayer[digest(t, l)] = true
	}
	all, once := make(chan struct{}), sync.Once{}
	s.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		if !isLayer[path.Base(r.URL.Path)] {
			return false
		}
		mu.Lock()
		if running++; running > most {
			most = running
		}
		if running == 3 {
			once.Do(func() { close(all) })
		}
		mu.Unlock()
		select {
		case <-all:
		case <-time.After(10 * time.Second): // most shows the failure
		}
		time.Sleep(20 * time.Millisecond) // for a fourth to show itself
		mu.Lock()
		running--
		mu.Unlock()
		return false
	})
	if _, err := scan(t, newScanner(t, s, &fake{}, func(o *setup) { o.Limits.LayersAtOnce = 3 }), ref); err != nil {
		t.Fatal(err)
	}
	if most != 3 {
		t.Errorf("%d layers at a time", most)
	}
}
