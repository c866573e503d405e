// Package imagescan turns an image reference into a report: it resolves the
// reference for a platform, streams the layers, has the executables of interest
// analysed, and merges what the layers say as an overlay file system would.
//
// It is not for judging, and it knows no cluster. References, registries and
// images are taken to be hostile: what they can cost is bounded by Limits, a
// verdict rests on bytes whose digest was verified, and connections go through
// a transport that NewTransport guards.
package imagescan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Analyze reports on one executable of size bytes that lies at path in an image.
type Analyze func(r io.ReaderAt, size int64, path string) (report.Binary, error)

// Credentials are what one puller may use.
type Credentials interface {
	// For returns what to try for a repository, in order. Empty: anonymously.
	For(repository name.Repository) []authn.Authenticator
}

// Request is one image to scan.
type Request struct {
	// Reference is the image as a Pod writes it.
	Reference string
	// Platform is os/arch[/variant].
	Platform string
	// Credentials are the puller's; nil: anonymous.
	Credentials Credentials
}

// Options configure a Scanner. Analyze and IsCandidate are required.
type Options struct {
	Analyze Analyze
	// IsCandidate says by a path's last element whether it is looked at.
	IsCandidate func(base string) bool
	// Transport carries every request; nil: NewTransport with its defaults.
	Transport http.RoundTripper
	// PlainHTTP are registries (host or host:port) that are spoken to without
	// TLS.
	PlainHTTP []string
	// UserAgent is sent to registries.
	UserAgent string
	Limits    Limits
	// Observer is told of each scan; nil: nobody.
	Observer Observer
}

// Observer is told of scans, for metrics.
type Observer interface {
	// Scanned is called when a scan ends; failure is empty when it succeeded.
	Scanned(took time.Duration, failure report.FailureClass)
	// Shared is called when a request is answered without a scan of its own.
	Shared()
}

// Limits bound what scans may cost. The zero value of a field means its default.
type Limits struct {
	// Layer bounds each layer.
	Layer imagefs.Limits
	// Layers is the most layers of an image.
	Layers int
	// LayerBytes is the largest packed layer.
	LayerBytes int64
	// ScanTime is how long one scan may take, however long its callers wait.
	ScanTime time.Duration
	// Scans is how many scans run at a time.
	Scans int64
	// Memory is how many bytes of files scans may hold at a time, together.
	Memory int64
	// Cache is how many reports are kept.
	Cache int
}

// Defaults of Limits.
const (
	DefaultLayers     = 256 // twice what overlayfs mounts
	DefaultLayerBytes = 8 << 30
	DefaultScanTime   = 5 * time.Minute
	DefaultScans      = 8
	DefaultMemory     = 256 << 20
	DefaultCache      = 4096
)

func (l Limits) withDefaults() Limits {
	l.Layer = l.Layer.WithDefaults()
	setDefault(&l.Layers, DefaultLayers)
	setDefault(&l.LayerBytes, DefaultLayerBytes)
	setDefault(&l.ScanTime, DefaultScanTime)
	setDefault(&l.Scans, DefaultScans)
	setDefault(&l.Memory, DefaultMemory)
	setDefault(&l.Cache, DefaultCache)
	return l
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Scanner scans images. It is safe for concurrent use.
type Scanner struct {
	options Options
	scans   *semaphore.Weighted
	memory  *semaphore.Weighted
	cache   *lru.Cache[key, report.Report]

	mu      sync.Mutex
	running map[flightKey]*flight
}

// flightKey keeps requests apart that may fail for reasons of their own: what
// one repository refuses, another may have to give.
type flightKey struct {
	key
	repository string
}

// key is what a verdict depends on: the content, and for which platform it was
// chosen.
type key struct{ digest, platform string }

// flight is a scan under way, which any number of requests wait for.
type flight struct {
	done   chan struct{}
	report report.Report
	err    error
}

// New returns a Scanner.
func New(o Options) (*Scanner, error) {
	if o.Analyze == nil || o.IsCandidate == nil {
		return nil, errors.New("imagescan: Analyze and IsCandidate are required")
	}
	o.Limits = o.Limits.withDefaults()
	if o.Transport == nil {
		o.Transport = NewTransport(TransportOptions{PlainHTTP: o.PlainHTTP})
	}
	cache, err := lru.New[key, report.Report](o.Limits.Cache)
	if err != nil {
		return nil, err
	}
	return &Scanner{
		options: o,
		scans:   semaphore.NewWeighted(o.Limits.Scans),
		memory:  semaphore.NewWeighted(o.Limits.Memory),
		cache:   cache,
		running: map[flightKey]*flight{},
	}, nil
}

// Scan reports on an image. Errors are *Error. The reference is resolved, and
// access checked, with this request's own credentials every time, so that what
// is remembered of an image tells nobody more than they could pull.
//
// A scan that this call starts goes on when ctx ends, for Limits.ScanTime at
// most: the call then returns class timeout, and a later one finds the report.
func (s *Scanner) Scan(ctx context.Context, request Request) (report.Report, error) {
	r, err := s.scan(ctx, request)
	if err != nil {
		return report.Report{}, newError(request.Reference, err)
	}
	r.Reference, r.Platform = request.Reference, request.Platform
	return r, nil
}

func (s *Scanner) scan(ctx context.Context, request Request) (report.Report, error) {
	platform, err := v1.ParsePlatform(request.Platform)
	if err != nil {
		return report.Report{}, fmt.Errorf("platform %q: %w", request.Platform, err)
	}
	ref, err := s.parse(request.Reference)
	if err != nil {
		return report.Report{}, err
	}
	resolved, err := s.resolve(ctx, ref, *platform, request.Credentials)
	if err != nil {
		return report.Report{}, err
	}
	if resolved.digest == (v1.Hash{}) {
		return noPlatform(request.Platform, resolved.offers), nil
	}
	image := ref.Context().Digest(resolved.digest.String())
	r, err := s.shared(ctx, flightKey{key{resolved.digest.String(), request.Platform}, ref.Context().Name()}, func(ctx context.Context) (report.Report, error) {
		return s.read(ctx, image, resolved.auth)
	})
	if err != nil {
		return report.Report{}, err
	}
	r.Image = image.String() // the first to ask may have known it by another repository
	return r, nil
}

// noPlatform reports on an image that has nothing for a platform.
func noPlatform(platform string, offers []string) report.Report {
	r := report.New()
	detail := "the image does not say which platforms it is for"
	if len(offers) > 0 {
		detail = fmt.Sprintf("the image is for %v", offers)
	}
	r.Gaps = append(r.Gaps, report.Gap{Where: platform, Reason: report.GapNoPlatform, Detail: detail})
	return r
}

// shared returns the report of k: remembered, from a scan under way, or from
// one that it starts.
func (s *Scanner) shared(ctx context.Context, k flightKey, scan func(context.Context) (report.Report, error)) (report.Report, error) {
	s.mu.Lock()
	if r, ok := s.cache.Get(k.key); ok {
		s.mu.Unlock()
		s.observe(func(o Observer) { o.Shared() })
		return clone(r), nil
	}
	f, ok := s.running[k]
	if !ok {
		f = &flight{done: make(chan struct{})}
		s.running[k] = f
		go s.fly(context.WithoutCancel(ctx), k, f, scan)
	}
	s.mu.Unlock()
	if ok {
		s.observe(func(o Observer) { o.Shared() })
	}
	select {
	case <-f.done:
		return clone(f.report), f.err
	case <-ctx.Done():
		return report.Report{}, ctx.Err()
	}
}

// fly carries out a scan on behalf of all who wait for it.
func (s *Scanner) fly(ctx context.Context, k flightKey, f *flight, scan func(context.Context) (report.Report, error)) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Limits.ScanTime)
	defer cancel()
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("%w: %v", errPanic, p)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, k)
		if f.err == nil {
			s.cache.Add(k.key, f.report)
		}
		close(f.done)
		var failure report.FailureClass
		if f.err != nil {
			failure = classify(f.err)
		}
		s.observe(func(o Observer) { o.Scanned(time.Since(start), failure) })
	}()
	if err := s.scans.Acquire(ctx, 1); err != nil {
		f.err = err
		return
	}
	defer s.scans.Release(1)
	f.report, f.err = scan(ctx)
}

func (s *Scanner) observe(tell func(Observer)) {
	if s.options.Observer != nil {
		tell(s.options.Observer)
	}
}

// clone keeps callers from sharing the cache's slices.
func clone(r report.Report) report.Report {
	r.Binaries, r.Gaps = slices.Clone(r.Binaries), slices.Clone(r.Gaps)
	return r
}
