package imagescan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"

	"github.com/capvet/capvet/internal/report"
)

// idle closes a scanner's connections and checks that its scans left no goroutine
// and no byte of its budgets behind.
func idle(t *testing.T, registry *server, s *Scanner, before goleak.Option) {
	t.Helper()
	registry.CloseClientConnections()
	goleak.VerifyNone(t, before)
	for name, budget := range map[string]*fairSemaphore{"files": s.fileBudget, "windows": s.windowBudget, "scans": s.scans} {
		if held, waiting := budget.load(); held != 0 || waiting != 0 || len(budget.owners) != 0 {
			t.Errorf("%s: %d held, %d waiting, %d owners after all has ended", name, held, waiting, len(budget.owners))
		}
	}
	if len(s.images.calls)+len(s.reads.calls) > 0 {
		t.Error("something is still under way")
	}
}

// raw is a manifest of arbitrary bytes.
type raw struct {
	content   []byte
	mediaType types.MediaType
}

func (r raw) RawManifest() ([]byte, error)        { return r.content, nil }
func (r raw) MediaType() (types.MediaType, error) { return r.mediaType, nil }

// TestFaults: every scan ends soon, with the class of the registry's fault, and
// leaves no goroutine or memory behind.
func TestFaults(t *testing.T) {
	s := newServer(t)
	good := gzipped(archive("haproxy", "a", "noise", noise(t, 300_000)))
	image := imageOf(t, "arm64", good)
	ref := s.push(t, "faults:x", image)
	packed := zstded(archive("haproxy", "a", "noise", noise(t, 300_000)))
	zstdRef := s.push(t, "faults:zstd", imageOf(t, "arm64", packed))
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	manifest = manifest.DeepCopy()
	manifest.Layers[0].Size++
	wrongSize := s.push(t, "faults:size", raw{encode(t, manifest), types.OCIManifestSchema1})

	layer := digest(t, good)
	config := manifest.Config.Digest.String()
	for _, tt := range []faultCase{
		{"none", ref, nil, nil, ""},
		{"none, zstd", zstdRef, nil, nil, ""},
		{"blob cut short, well framed", ref, on(layer, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good[:len(good)/2]) }),
			nil, report.FailureMalformed},
		{"blob swapped", ref, on(layer, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(packed) }), nil, report.FailureMalformed},
		{"blob longer than it should be", ref, on(layer, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(bytes.Clone(good), 0))
		}), nil, report.FailureMalformed},
		{"configuration swapped", ref, on(config, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }), nil,
			report.FailureMalformed},
		{"size other than the manifest's", wrongSize, nil, nil, report.FailureMalformed},
		{"always reset in mid-layer", ref, on(layer, func(w http.ResponseWriter, _ *http.Request) {
			half(w, good)
			panic(http.ErrAbortHandler)
		}), nil, report.FailureRegistry},
		{"stalls in mid-layer", ref, on(layer, func(w http.ResponseWriter, r *http.Request) {
			half(w, good)
			wait(r)
		}), func(o *setup) { o.client.StallTime = 50 * time.Millisecond }, report.FailureTimeout},
		{"drips", ref, on(layer, func(w http.ResponseWriter, r *http.Request) {
			for _, b := range good {
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		}), func(o *setup) { o.client.StallTime = 100 * time.Millisecond }, report.FailureTimeout},
		{"stalls in mid-layer, zstd", zstdRef, on(digest(t, packed), func(w http.ResponseWriter, r *http.Request) {
			half(w, packed)
			wait(r)
		}), func(o *setup) { o.client.StallTime = 50 * time.Millisecond }, report.FailureTimeout},
		{"stalls until the scan's time is up", ref, on(layer, func(w http.ResponseWriter, r *http.Request) {
			half(w, good)
			wait(r)
		}), func(o *setup) { o.Limits.ScanTime = 200 * time.Millisecond }, report.FailureTimeout},
		{"drips", ref, on(layer, func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(good) && r.Context().Err() == nil; i++ {
				_, _ = w.Write(good[i : i+1])
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		}), func(o *setup) { o.Limits.ScanTime = 300 * time.Millisecond }, report.FailureTimeout},
		{"endless manifest", ref, on("/manifests/", endless), nil, report.FailureTooLarge},
		{"endless layer", ref, on(layer, endless), func(o *setup) { o.Limits.LayerBytes = 1 << 20 }, report.FailureTooLarge},
		{"endless layer, well packed", ref, on(layer, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(good); err != nil {
					return
				}
			}
		}), func(o *setup) { o.Limits.LayerBytes = 1 << 20 }, report.FailureTooLarge},
		{"redirects in a circle", ref, on(layer, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}), nil, report.FailureRegistry},
		{"redirects further and further", ref, on("/blobs/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"/x", http.StatusTemporaryRedirect)
		}), nil, report.FailureRegistry},
		{"tokens that never do", ref, s.neverAuthorized(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"token":"t"}`)
		}), nil, report.FailureUnauthorized},
		{"endless token", ref, s.neverAuthorized(endless), nil, report.FailureRegistry},
		{"told to come back much later", ref, on("/manifests/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}), nil, report.FailureRateLimited},
		{"layer refused", ref, on(layer, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }), nil,
			report.FailureUnauthorized},
		{"registry not permitted", ref, nil, func(o *setup) { o.client.Access.Deny = []string{"127.0.0.1:*"} }, report.FailureBlocked},
		{"registry not among those permitted", ref, nil, func(o *setup) { o.client.Access.Allow = []string{"*.example.com"} },
			report.FailureBlocked},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, s) })
	}
}

// faultCase is a row of TestFaults.
type faultCase struct {
	name   string
	ref    string
	fault  func(http.ResponseWriter, *http.Request) bool
	change func(*setup)
	want   report.FailureClass
}

func (tt faultCase) run(t *testing.T, s *server) {
	s.CloseClientConnections()
	before := goleak.IgnoreCurrent()
	scanner := newScanner(t, s, &fake{}, tt.change)
	s.fail(tt.fault)
	defer s.fail(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := scanner.Scan(ctx, Request{Reference: tt.ref, Platform: "linux/arm64"})
	if class(err) != tt.want || ctx.Err() != nil {
		t.Errorf("got class %q (%v), want %q", class(err), err, tt.want)
	}
	if err == nil {
		if diff := cmp.Diff([]string{"/haproxy=a"}, binaries(r)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	idle(t, s, scanner, before)
}

// on answers requests whose path contains part.
func on(part string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		answer(w, r)
		return true
	}
}

// half sends the first half of a body with the length of the whole.
func half(w http.ResponseWriter, of []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(of)))
	_, _ = w.Write(of[:len(of)/2])
	w.(http.Flusher).Flush()
}

func wait(r *http.Request) { <-r.Context().Done() }

// endless sends zeros until the client closes the connection.
func endless(w http.ResponseWriter, r *http.Request) {
	for chunk := make([]byte, 64<<10); r.Context().Err() == nil; {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// neverAuthorized demands a bearer token, with an answer to the request for one, and
// accepts no token.
func (s *server) neverAuthorized(token http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			token(w, r)
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, s.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// TestTemporaryFaults: a temporary fault does not fail the scan.
func TestTemporaryFaults(t *testing.T) {
	s := newServer(t)
	good := gzipped(archive("haproxy", "a", "noise", noise(t, 300_000)))
	ref := s.push(t, "passing:x", imageOf(t, "arm64", good))
	for _, tt := range []struct {
		name  string
		part  string
		fault func(w http.ResponseWriter, attempt int64) bool // true: answered
	}{
		{"server error", "/manifests/", func(w http.ResponseWriter, n int64) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}},
		{"rate limit, told when to come back", "/blobs/", func(w http.ResponseWriter, n int64) bool {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}},
		{"reset before an answer", "/v2/", func(http.ResponseWriter, int64) bool { panic(http.ErrAbortHandler) }},
		{"reset in mid-layer, twice", digest(t, good), func(w http.ResponseWriter, n int64) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/4])
			panic(http.ErrAbortHandler)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			var attempts atomic.Int64
			s.fail(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, tt.part) {
					return false
				}
				n := attempts.Add(1)
				return n <= 2 && tt.fault(w, n)
			})
			defer s.fail(nil)
			scanner := newScanner(t, s, &fake{}, nil)
			r, err := scan(t, scanner, ref)
			if err != nil || len(r.Binaries) != 1 {
				t.Errorf("%v, %v", binaries(r), err)
			}
			if attempts.Load() < 3 {
				t.Errorf("%d attempts", attempts.Load())
			}
			idle(t, s, scanner, before)
		})
	}
}

// TestUnreadable: a manifest of a known kind that is no runnable image is a gap.
func TestUnreadable(t *testing.T) {
	s := newServer(t)
	blob := imageOf(t, "arm64", gzipped(archive("haproxy", "a")))
	manifest, err := blob.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	s.push(t, "unreadable:blobs", blob)
	artifact, both := manifest.DeepCopy(), manifest.DeepCopy()
	artifact.Config.MediaType = "application/vnd.example.config+json"
	for _, tt := range []struct {
		name  string
		image raw
		want  []string
		class report.FailureClass
	}{
		{"schema-1", raw{[]byte(`{"schemaVersion":1,"fsLayers":[]}`), types.DockerManifestSchema1Signed}, []string{"gap not-readable"}, ""},
		{"artifact", raw{encode(t, artifact), types.OCIManifestSchema1}, []string{"gap not-readable"}, ""},
		{"both", raw{bytes.Replace(encode(t, both), []byte(`{`), []byte(`{"manifests":[],`), 1), types.OCIManifestSchema1}, nil,
			report.FailureMalformed},
		{"no-json", raw{[]byte(`x`), types.OCIManifestSchema1}, nil, report.FailureMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.fail(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/manifests/"+tt.name) {
					return false
				}
				w.Header().Set("Content-Type", string(tt.image.mediaType))
				_, _ = w.Write(tt.image.content)
				return true
			})
			defer s.fail(nil)
			r, err := scan(t, newScanner(t, s, nil, nil), s.host()+"/unreadable:"+tt.name)
			if class(err) != tt.class {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err == nil && r.Complete {
				t.Error("complete")
			}
		})
	}
}

// TestResolutionCache: resolutions and failures are cached for a short time, for each
// set of credentials separately.
func TestResolutionCache(t *testing.T) {
	s := newServer(t)
	ref := s.push(t, "memory:x", imageOf(t, "arm64", gzipped(archive("haproxy", "a"))))
	c := &counter{}
	refuse := atomic.Bool{}
	s.fail(func(w http.ResponseWriter, r *http.Request) bool {
		c.count(w, r)
		if refuse.Load() {
			w.WriteHeader(http.StatusForbidden)
		}
		return refuse.Load()
	})
	scanner := newScanner(t, s, nil, func(o *setup) { o.ResolutionTTL, o.FailureTTL = time.Minute, time.Second })
	now := time.Now()
	clock := func() time.Time { return now }
	scanner.resolutionCache.resolutions.now, scanner.resolutionCache.failures.now = clock, clock
	alice, bob := userPassword{[][2]string{{"alice", "p"}}}, userPassword{[][2]string{{"bob", "p"}}}
	ask := func(name string, credentials Credentials, want report.FailureClass, manifests int) {
		t.Helper()
		before := s.requests.Load()
		_, err := scanner.Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64", Credentials: credentials})
		if class(err) != want || c.of("manifests") != manifests {
			t.Errorf("%s: %v, %d manifests so far, want %d", name, err, c.of("manifests"), manifests)
		}
		if manifests == 0 && s.requests.Load() != before {
			t.Errorf("%s: the registry was asked", name)
		}
	}
	ask("first", alice, "", 1)
	ask("again", alice, "", 1)
	refuse.Store(true)
	ask("remembered", alice, "", 1)
	requests := s.requests.Load()
	ask("by another", bob, report.FailureUnauthorized, 1) // refused at the door
	if s.requests.Load() == requests {
		t.Error("another's credentials were not tried")
	}
	requests = s.requests.Load()
	ask("by another again", bob, report.FailureUnauthorized, 1)
	if s.requests.Load() != requests {
		t.Error("the failure was not remembered")
	}
	refuse.Store(false)
	now = now.Add(2 * time.Second)
	ask("the failure is forgotten", bob, "", 2)
	now = now.Add(2 * time.Minute)
	ask("the tag is forgotten", alice, "", 3)
}

func encode(t *testing.T, manifest *v1.Manifest) []byte {
	t.Helper()
	content, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
