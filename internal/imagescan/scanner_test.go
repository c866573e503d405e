package imagescan

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	registrytest "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// server is a registry on loopback that counts requests and fails on demand.
type server struct {
	*httptest.Server
	requests atomic.Int64

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) bool // true: answered
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	handler := registrytest.New(registrytest.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.mu.Lock()
		fault := s.fault
		s.mu.Unlock()
		if fault != nil && fault(w, r) {
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) fail(fault func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// push writes an image or index under a reference and returns the reference.
func (s *server) push(t *testing.T, repository string, image remote.Taggable) string {
	t.Helper()
	ref, err := name.ParseReference(s.host() + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(ref, image); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

// fake is an analyser that reports a file's content as its build ID.
type fake struct {
	calls atomic.Int64
	block chan struct{}
}

func (f *fake) analyze(r io.ReaderAt, size int64, _ string) (report.Binary, error) {
	f.calls.Add(1)
	if f.block != nil {
		<-f.block
	}
	content, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil {
		return report.Binary{}, err
	}
	switch string(content) {
	case "broken":
		return report.Binary{}, errors.New("not an ELF file")
	case "panic":
		panic("hostile file")
	}
	abi := report.ABINone
	if strings.HasPrefix(string(content), "v1") {
		abi = report.ABIV1
	}
	return report.Binary{BuildID: string(content), Size: size, Capset: report.Capset{ABI: abi}}, nil
}

// loopback returns a transport that may connect to this machine.
func loopback(plain []string) http.RoundTripper {
	return registry.NewTransport(registry.TransportOptions{PlainHTTP: plain, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
}

// setup configures the scanner of a test and its client.
type setup struct {
	Options
	client registry.Options
}

func newScanner(t testing.TB, s *server, f *fake, change func(*setup)) *Scanner {
	t.Helper()
	if f == nil {
		f = &fake{}
	}
	o := setup{client: registry.Options{UserAgent: "test"}}
	o.Inspector = layers.Inspector{Analyze: f.analyze, IsCandidate: func(base string) bool { return base == "haproxy" }}
	if s != nil {
		o.client.PlainHTTP = []string{s.host()}
	}
	o.client.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	o.client.Transport = loopback(o.client.PlainHTTP)
	if change != nil {
		change(&o)
	}
	var err error
	if o.Registry, err = registry.NewClient(o.client); err != nil {
		t.Fatal(err)
	}
	scanner, err := New(o.Options)
	if err != nil {
		t.Fatal(err)
	}
	return scanner
}

// archive builds a tar stream of regular files; of directories for names that end
// with a slash; of symbolic links for content that starts with -> and of hard links
// for =>.
func archive(files ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(files[i+1]))}
		content := files[i+1]
		if strings.HasSuffix(files[i], "/") {
			h.Typeflag = tar.TypeDir
		}
		if target, ok := strings.CutPrefix(content, "->"); ok {
			h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, target, 0, ""
		}
		if target, ok := strings.CutPrefix(content, "=>"); ok {
			h.Typeflag, h.Linkname, h.Size, content = tar.TypeLink, target, 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

func zstded(data []byte) []byte {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return e.EncodeAll(data, nil)
}

// imageOf builds an image of compressed layers.
func imageOf(t testing.TB, arch string, layers ...[]byte) v1.Image {
	t.Helper()
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for _, stored := range layers {
		var err error
		if image, err = mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(stored, types.OCILayer)}); err != nil {
			t.Fatal(err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

func scan(t *testing.T, s *Scanner, reference string) (report.Report, error) {
	t.Helper()
	return s.Scan(t.Context(), Request{Reference: reference, Platform: "linux/arm64"})
}

// binaries returns a report in brief.
func binaries(r report.Report) []string {
	var lines []string
	for _, b := range r.Binaries {
		lines = append(lines, b.Path+"="+b.BuildID)
	}
	for _, g := range r.Gaps {
		lines = append(lines, "gap "+g.Reason)
	}
	return lines
}

func TestScan(t *testing.T) {
	s := newServer(t)
	tests := []struct {
		name   string
		layers [][]byte
		want   []string
	}{
		{"gzip", [][]byte{gzipped(archive("usr/sbin/haproxy", "a"))}, []string{"/usr/sbin/haproxy=a"}},
		{"zstd", [][]byte{zstded(archive("usr/sbin/haproxy", "a"))}, []string{"/usr/sbin/haproxy=a"}},
		{"plain tar", [][]byte{archive("usr/sbin/haproxy", "a")}, []string{"/usr/sbin/haproxy=a"}},
		{"members and trailing bytes", [][]byte{append(gzipped(archive("haproxy", "a")), gzipped([]byte("trailer"))...)}, []string{"/haproxy=a"}},
		{"top wins", [][]byte{gzipped(archive("haproxy", "old")), gzipped(archive("haproxy", "new"))}, []string{"/haproxy=new"}},
		{"removed", [][]byte{gzipped(archive("sbin/haproxy", "a")), gzipped(archive("sbin/.wh.haproxy", ""))}, nil},
		{"link to another name, another layer", [][]byte{gzipped(archive("opt/lb/bin", "a")),
			gzipped(archive("usr/sbin/haproxy", "->../../opt/lb/bin"))}, []string{"/opt/lb/bin=a"}},
		{"empty layer", [][]byte{gzipped(archive()), gzipped(archive("haproxy", "a"))}, []string{"/haproxy=a"}},
		{"not analysable", [][]byte{gzipped(archive("haproxy", "broken"))}, []string{"gap not-analysed"}},
		{"analyser panics", [][]byte{gzipped(archive("haproxy", "panic", "sbin/haproxy", "a"))}, []string{"/sbin/haproxy=a", "gap not-analysed"}},
		{"no layers", nil, nil},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := s.push(t, fmt.Sprintf("scan/%d:x", i), imageOf(t, "arm64", tt.layers...))
			r, err := scan(t, newScanner(t, s, &fake{}, nil), ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if r.Reference != ref || r.Platform != "linux/arm64" || !strings.Contains(r.Image, "@sha256:") {
				t.Errorf("identity: %q %q %q", r.Reference, r.Platform, r.Image)
			}
		})
	}
}

func TestPlatforms(t *testing.T) {
	s := newServer(t)
	add := func(index v1.ImageIndex, platform *v1.Platform, what mutate.Appendable) v1.ImageIndex {
		return mutate.AppendManifests(index, mutate.IndexAddendum{Add: what, Descriptor: v1.Descriptor{Platform: platform}})
	}
	amd64 := imageOf(t, "amd64", gzipped(archive("haproxy", "amd64")))
	arm64 := imageOf(t, "arm64", gzipped(archive("haproxy", "arm64")))
	attestation := imageOf(t, "unknown", gzipped(archive("haproxy", "attestation")))
	full := add(empty.Index, &v1.Platform{OS: "unknown", Architecture: "unknown"}, attestation)
	full = add(full, &v1.Platform{OS: "linux", Architecture: "amd64"}, amd64)
	full = add(full, &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, arm64)
	for _, tt := range []struct {
		name  string
		image remote.Taggable
		want  []string
	}{
		{"index", full, []string{"/haproxy=arm64"}},
		{"nested index", add(empty.Index, nil, full), []string{"/haproxy=arm64"}},
		{"index without arm64", add(empty.Index, &v1.Platform{OS: "linux", Architecture: "amd64"}, amd64), []string{"gap no-such-platform"}},
		{"single image of another architecture", amd64, []string{"gap no-such-platform"}},
		{"index without platforms", add(add(empty.Index, nil, amd64), nil, arm64), []string{"/haproxy=arm64"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := s.push(t, "platforms:"+strings.ReplaceAll(tt.name, " ", "-"), tt.image)
			r, err := scan(t, newScanner(t, s, &fake{}, nil), ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !r.Complete {
				t.Error("not complete")
			}
		})
	}
}

func TestCacheAndSharing(t *testing.T) {
	s := newServer(t)
	f := &fake{block: make(chan struct{})}
	scanner := newScanner(t, s, f, nil)
	image := imageOf(t, "arm64", gzipped(archive("haproxy", "a")))
	first, second := s.push(t, "first:x", image), s.push(t, "second:x", image)

	var group sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		group.Go(func() { _, errs[i] = scan(t, scanner, first) })
	}
	for f.calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(f.block)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := f.calls.Load(); got != 1 {
		t.Errorf("%d analyses for one digest", got)
	}
	r, err := scan(t, scanner, second)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Image, "/second@") || f.calls.Load() != 1 {
		t.Errorf("image %s, %d analyses", r.Image, f.calls.Load())
	}
	// A puller without access gets no report, cached or not.
	s.fail(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if _, err := scan(t, scanner, second); class(err) != report.FailureUnauthorized {
		t.Errorf("without access: %v", err)
	}
}

func class(err error) report.FailureClass {
	var classed *Error
	if !errors.As(err, &classed) {
		return ""
	}
	return classed.Class
}

// TestAnswersSoon: a scan returns at its deadline if the registry leaves any kind of
// request unanswered.
func TestAnswersSoon(t *testing.T) {
	s := newServer(t)
	ref := s.push(t, "slow:x", imageOf(t, "arm64", gzipped(archive("haproxy", "a"))))
	for _, path := range []string{"/v2/", "/token", "/manifests/", "/blobs/"} {
		s.fail(func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.HasSuffix(r.URL.Path, path) || path != "/v2/" && strings.Contains(r.URL.Path, path):
				<-r.Context().Done()
			case path == "/token" && r.URL.Path == "/v2/":
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+s.host()+`/token"`)
				w.WriteHeader(http.StatusUnauthorized)
			default:
				return false
			}
			return true
		})
		scanner := newScanner(t, s, nil, func(o *setup) {
			o.Limits.ScanTime = 200 * time.Millisecond
			o.Inspector.IsHint = func(string) bool { return false } // reads the image's configuration
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := scanner.Scan(ctx, Request{Reference: ref, Platform: "linux/arm64", Hinted: true}); class(err) != report.FailureTimeout {
			t.Errorf("%s unanswered: %v", path, err)
		}
		cancel()
	}
}

// TestDetached: a scan outlives the request that started it.
func TestDetached(t *testing.T) {
	s := newServer(t)
	f := &fake{block: make(chan struct{})}
	scanner := newScanner(t, s, f, nil)
	ref := s.push(t, "slow:x", imageOf(t, "arm64", gzipped(archive("haproxy", "a"))))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for f.calls.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := scanner.Scan(ctx, Request{Reference: ref, Platform: "linux/arm64"}); class(err) != report.FailureTimeout {
		t.Fatalf("got %v", err)
	}
	close(f.block)
	r, err := scan(t, scanner, ref)
	if err != nil || len(r.Binaries) != 1 || f.calls.Load() != 1 {
		t.Errorf("afterwards: %v, %v, %d analyses", r, err, f.calls.Load())
	}
}

type userPassword struct{ pairs [][2]string }

func (u userPassword) For(name.Repository) []authn.Authenticator {
	var all []authn.Authenticator
	for _, p := range u.pairs {
		all = append(all, authn.FromConfig(authn.AuthConfig{Username: p[0], Password: p[1]}))
	}
	return all
}

// TestEachCredentialIsTried: a later credential may be the right one.
func TestEachCredentialIsTried(t *testing.T) {
	s := newServer(t)
	ref := s.push(t, "private:x", imageOf(t, "arm64", gzipped(archive("haproxy", "a"))))
	s.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "right" && password == "p" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	scanner := newScanner(t, s, &fake{}, nil)
	for _, tt := range []struct {
		name        string
		credentials Credentials
		want        report.FailureClass
	}{
		{"none", nil, report.FailureUnauthorized},
		{"wrong", userPassword{[][2]string{{"wrong", "p"}}}, report.FailureUnauthorized},
		{"second fits", userPassword{[][2]string{{"wrong", "p"}, {"right", "p"}}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := scanner.Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64", Credentials: tt.credentials})
			if class(err) != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "wrong") {
				t.Errorf("the error tells the user's name: %v", err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	s := newServer(t)
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	good := gzipped(archive("haproxy", string(noise)))
	layer := static.NewLayer(good, types.OCILayer)
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref := s.push(t, "faults:x", imageOf(t, "arm64", good))
	isBlob := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, digest.String()) }
	blob := func(answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				answer(w, r)
			}
			return isBlob(r)
		}
	}
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(code)
			return true
		}
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-20] ^= 1
	bomb := bytes.Repeat(gzipped(make([]byte, 1<<20)), 300) // gzip members one after the other are one stream
	for _, tt := range []struct {
		name   string
		ref    string
		fault  func(http.ResponseWriter, *http.Request) bool
		change func(*setup)
		want   report.FailureClass
	}{
		{"no such tag", s.host() + "/faults:none", nil, nil, report.FailureNotFound},
		{"no reference", "UPPER CASE", nil, nil, report.FailureMalformed},
		{"unauthorized", ref, status(http.StatusUnauthorized), nil, report.FailureUnauthorized},
		{"forbidden", ref, status(http.StatusForbidden), nil, report.FailureUnauthorized},
		{"rate limited", ref, status(http.StatusTooManyRequests), nil, report.FailureRateLimited},
		{"server error", ref, status(http.StatusInternalServerError), nil, report.FailureRegistry},
		{"nobody listens", "127.0.0.1:9/x:y", nil, func(o *setup) {
			o.client.PlainHTTP = append(o.client.PlainHTTP, "127.0.0.1:9")
			o.client.Transport = registry.NewTransport(registry.TransportOptions{PlainHTTP: o.client.PlainHTTP,
				Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		}, report.FailureRegistry},
		{"loopback is refused", ref, nil, func(o *setup) {
			o.client.Transport = registry.NewTransport(registry.TransportOptions{PlainHTTP: o.client.PlainHTTP})
		}, report.FailureBlocked},
		{"plain HTTP is refused", ref, nil, func(o *setup) {
			o.client.PlainHTTP = nil
			o.client.Transport = registry.NewTransport(registry.TransportOptions{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		}, report.FailureBlocked},
		{"blob swapped", ref, blob(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(gzipped(archive("haproxy", "evil"))) }), nil,
			report.FailureMalformed},
		{"blob with a flipped bit", ref, blob(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(flipped) }), nil,
			report.FailureMalformed},
		{"blob cut short", ref, blob(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/2])
			panic(http.ErrAbortHandler)
		}), nil, report.FailureRegistry},
		{"redirect to a refused address", ref, blob(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
		}), nil, report.FailureBlocked},
		{"redirect loop", ref, blob(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}), nil, report.FailureRegistry},
		{"layer over its limit", ref, nil, func(o *setup) { o.Limits.LayerBytes = 1000 }, report.FailureTooLarge},
		{"zstd window over its limit", s.push(t, "window:x", imageOf(t, "arm64", zstded(archive("haproxy", string(noise))))), nil,
			func(o *setup) { o.Limits.Layer.WindowBytes = 1 << 10 }, report.FailureTooLarge},
		{"unpacks to too much", ref, nil, func(o *setup) { o.Limits.Layer.UnpackedBytes = 1000 }, report.FailureTooLarge},
		{"compression bomb", s.push(t, "bomb:x", imageOf(t, "arm64", bomb)), nil, nil, report.FailureTooLarge},
		{"too many executables", s.push(t, "many:x", imageOf(t, "arm64", manyExecutables()...)), nil, nil, report.FailureTooLarge},
		{"scan out of time", ref, blob(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
			func(o *setup) { o.Limits.ScanTime = 100 * time.Millisecond }, report.FailureTimeout},
		{"manifest of another type", s.push(t, "artifact:x", mutate.MediaType(imageOf(t, "arm64"), "application/vnd.example+json")), nil, nil,
			report.FailureMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.fail(tt.fault)
			defer s.fail(nil)
			_, err := scan(t, newScanner(t, s, &fake{}, tt.change), tt.ref)
			if class(err) != tt.want {
				t.Errorf("got class %q (%v), want %q", class(err), err, tt.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\t") {
				t.Errorf("not one line: %q", err)
			}
		})
	}
}

func TestScanAny(t *testing.T) {
	image := imageOf(t, "arm64", gzipped(archive("haproxy", "a")))
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image})); err != nil {
		t.Fatal(err)
	}
	real, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(gzipped(archive("haproxy", "a")))), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := mutate.AppendLayers(imageOf(t, "arm64"), real)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	tag, err := name.NewTag("example.com/x:y")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, tag, unpacked); err != nil {
		t.Fatal(err)
	}
	scanner := newScanner(t, nil, &fake{}, nil)
	for _, ref := range []string{"oci:" + dir, "tarball:" + file} {
		r, err := scanner.ScanAny(t.Context(), Request{Reference: ref, Platform: "linux/arm64"})
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if diff := cmp.Diff([]string{"/haproxy=a"}, binaries(r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ref, diff)
		}
		if r, err = scanner.ScanAny(t.Context(), Request{Reference: ref, Platform: "linux/s390x"}); err != nil || len(r.Gaps) != 1 ||
			r.Gaps[0].Reason != report.GapNoPlatform {
			t.Errorf("%s for s390x: %v, %v", ref, r, err)
		}
	}
	for _, ref := range []string{"oci:" + file, "oci:/nowhere", "tarball:" + dir, "tarball:/nowhere"} {
		if _, err := scanner.ScanAny(t.Context(), Request{Reference: ref, Platform: "linux/arm64"}); err == nil ||
			!strings.Contains(err.Error(), ref) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestLargeFileThroughDisk(t *testing.T) {
	s := newServer(t)
	noise := make([]byte, spoolBytes+1)
	_, _ = rand.Read(noise)
	ref := s.push(t, "large:x", imageOf(t, "arm64", archive("haproxy", string(noise))))
	analysed := false
	scanner := newScanner(t, s, nil, func(o *setup) {
		o.Inspector.Analyze = func(r io.ReaderAt, size int64, _ string) (report.Binary, error) {
			content, err := io.ReadAll(io.NewSectionReader(r, 0, size))
			analysed = bytes.Equal(content, noise)
			return report.Binary{}, err
		}
	})
	if _, err := scan(t, scanner, ref); err != nil {
		t.Fatal(err)
	}
	if !analysed {
		t.Error("the file was not analysed as it is")
	}
	// Policies may admit an image that is not found, or a registry that fails.
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	_, err := scan(t, newScanner(t, s, nil, nil), ref)
	var failure *Error
	if !errors.As(err, &failure) || failure.Class != report.FailureInternal || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("without a folder for temporary files: %v", err)
	}
}

// manyExecutables returns layers within the limits of each layer that together hold
// more than maxBinaries candidates.
func manyExecutables() [][]byte {
	var layers [][]byte
	for i := range maxBinaries/32 + 1 {
		var files []string
		for j := range 32 {
			files = append(files, fmt.Sprintf("%d/%d/haproxy", i, j), "a")
		}
		layers = append(layers, gzipped(archive(files...)))
	}
	return layers
}

// BenchmarkKnown scans an image with a cached resolution and report.
func BenchmarkKnown(b *testing.B) {
	s := &server{Server: httptest.NewServer(registrytest.New(registrytest.Logger(log.New(io.Discard, "", 0))))}
	defer s.Close()
	ref, err := name.ParseReference(s.host() + "/known:x")
	if err != nil {
		b.Fatal(err)
	}
	if err := remote.Push(ref, imageOf(b, "arm64", gzipped(archive("haproxy", "a")))); err != nil {
		b.Fatal(err)
	}
	scanner := newScanner(b, s, nil, func(o *setup) { o.ResolutionTTL = time.Hour })
	for b.Loop() {
		if _, err := scanner.Scan(b.Context(), Request{Reference: ref.Name(), Platform: "linux/arm64",
			Credentials: userPassword{[][2]string{{"u", "p"}}}}); err != nil {
			b.Fatal(err)
		}
	}
}
