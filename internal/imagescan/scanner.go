// Package imagescan turns an image reference into a report: it resolves the
// reference for a platform, streams the layers, has the executables of interest
// analysed, and merges what the layers say as an overlay file system would.
//
// It is not for judging, and it knows no cluster. References, registries and
// images are taken to be hostile: what they can cost is bounded by Limits, a
// verdict rests on bytes whose digest was verified, and connections go through
// a transport that NewTransport guards.
//
// What a layer contributes is remembered by its digest, what an image comes to
// by the digest of its manifest. Neither is used before the asker's own
// credentials got that manifest, nor beyond the registry that it came from: a
// registry that anybody can run vouches for nothing that another one holds.
package imagescan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	lru "github.com/hashicorp/golang-lru/v2"

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
	// Hinted has the layers of a registry's image read only where the reference's
	// repository or tag, the image's configuration or one of Words hints at a
	// known product. Of any other the report has one gap, of reason
	// report.GapNotRead.
	Hinted bool
	// Words are what the puller says of how the image is run.
	Words []string
	// Others has every executable of the image looked at, not known products
	// alone. Of those others, the report has the ones that make capability calls.
	Others bool
	// Namespace is in whose name the image is scanned: those who wait are served
	// by turns, one namespace after the other. It decides nothing else.
	Namespace string
	// Early lets a legacy verdict answer as soon as it is proven, in a report
	// that is not complete.
	Early bool
}

// Options configure a Scanner. Analyze and IsCandidate are required.
type Options struct {
	Analyze Analyze
	// IsCandidate says by a path's last element whether it is looked at.
	IsCandidate func(base string) bool
	// Other reports on an executable that no name speaks for; false: there is
	// nothing to say of it. Required for requests for others.
	Other func(r io.ReaderAt, size int64, path string) (report.Binary, bool, error)
	// Settings reads a configuration file that an image's command names; false: it
	// is none. Without it none is read.
	Settings func(text []byte) (report.Settings, bool)
	// IsHint says whether a text hints at a known product. Without it nothing
	// does, and a request for what is hinted at reads nothing.
	IsHint func(text string) bool
	// Libraries are looked at too.
	Libraries Libraries
	// Transport carries every request; nil: NewTransport with its defaults.
	Transport http.RoundTripper
	// PlainHTTP are registries (host or host:port) that are spoken to without
	// TLS.
	PlainHTTP []string
	// Hosts are mirrors and what they take; nil: there are none.
	Hosts *Hosts
	// Registries says which registries may be read from.
	Registries Registries
	// TagsFor is how long it is remembered what a reference led its askers to,
	// FailuresFor how long that it could not be read. Zero: not at all.
	TagsFor, FailuresFor time.Duration
	// Tables has layers read through the table of contents that the manifest vouches
	// for (eStargz, zstd:chunked), and only the files of interest fetched. The
	// layer's own digest is then not verified: who built the image can have its
	// table say one thing and its tar stream, which most runtimes unpack, another.
	Tables bool
	// UserAgent is sent to registries.
	UserAgent string
	// StopEarly ends a scan with its early answer. Otherwise the rest is read
	// behind it, and the complete report kept.
	StopEarly bool
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
	// Waited is called when a scan begins, after it waited for its turn.
	Waited(took time.Duration)
}

// Scanner scans images. It is safe for concurrent use.
type Scanner struct {
	options Options
	scans   *fair
	memory  *fair // of files
	windows *fair // of zstd; apart, since who holds one waits for files
	// transport is that of the options with what holds for every request.
	transport http.RoundTripper
	memo      *memory
	reports   *lru.Cache[key, report.Report]
	hints     *lru.Cache[hintKey, bool]
	images    *flights[flightKey, report.Report]
	layers    *layerCache
	reads     *flights[readKey, *summary]
	// resolutions keep many who ask for the same from overrunning a registry.
	resolutions *flights[asked, resolution]
}

// key is what a verdict depends on, the content and for which platform it was
// chosen, the registry that vouches for who may see it, and how much was looked
// at.
type key struct {
	registry, digest, platform string
	others                     bool
}

// flightKey keeps requests apart that may fail for reasons of their own: what
// one repository refuses, another may have to give.
type flightKey struct {
	key
	repository string
	early      bool // a scan that may stop early is of no use to others
}

// errNoOther is a mistake of who made the Scanner.
var errNoOther = errors.New("imagescan: Options.Other is required for a request for other executables")

// New returns a Scanner.
func New(o Options) (*Scanner, error) {
	if o.Analyze == nil || o.IsCandidate == nil {
		return nil, errors.New("imagescan: Analyze and IsCandidate are required")
	}
	o.Limits = o.Limits.withDefaults()
	if o.Transport == nil {
		o.Transport = NewTransport(TransportOptions{PlainHTTP: o.PlainHTTP})
	}
	if err := o.Registries.Check(); err != nil {
		return nil, fmt.Errorf("imagescan: %w", err)
	}
	memo, err := newMemory(o.TagsFor, o.FailuresFor)
	if err != nil {
		return nil, err
	}
	reports, err := lru.New[key, report.Report](o.Limits.Cache)
	if err != nil {
		return nil, err
	}
	hints, err := lru.New[hintKey, bool](o.Limits.Cache)
	if err != nil {
		return nil, err
	}
	return &Scanner{
		options:   o,
		scans:     newFair(o.Limits.Scans, o.Limits.Scans/reserved, o.Limits.Waiting),
		memory:    newFair(o.Limits.Memory/2, o.Limits.Memory/2/reserved, 0),
		windows:   newFair(max(o.Limits.Memory/2, o.Limits.Layer.WindowBytes), 0, 0), // too few to keep one
		transport: requestRules(o.Transport),
		memo:      memo,
		reports:   reports,
		hints:     hints,
		images:    newFlights[flightKey, report.Report](),
		layers:    newLayerCache(o.Limits.LayerCache),
		reads:     newFlights[readKey, *summary](),

		resolutions: newFlights[asked, resolution](),
	}, nil
}

// Scan reports on an image. Errors are *Error. The reference is resolved, and
// access checked, with this request's own credentials, or was with the same ones
// within Options.TagsFor, so that what is remembered of an image tells nobody
// more than they could pull.
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
	if request.Others && s.options.Other == nil {
		return report.Report{}, errNoOther
	}
	platform, err := v1.ParsePlatform(request.Platform)
	if err != nil {
		return report.Report{}, fmt.Errorf("platform %q: %w", request.Platform, err)
	}
	ref, err := s.parse(request.Reference)
	if err != nil {
		return report.Report{}, err
	}
	if err := s.options.Registries.permit(ref.Context().RegistryStr()); err != nil {
		return report.Report{}, err
	}
	credentials := []authn.Authenticator{}
	if request.Credentials != nil {
		credentials = request.Credentials.For(ref.Context())
	}
	who, known := s.memo.key(ref.Name(), request.Platform, credentials)
	if !known {
		return s.scanFor(ctx, request, ref, *platform, credentials, nil)
	}
	if failed, ok := s.memo.failure(who); ok {
		return report.Report{}, failed
	}
	r, err := s.scanFor(ctx, request, ref, *platform, credentials, &who)
	if err != nil && ctx.Err() == nil {
		s.memo.keepFailure(who, newError(request.Reference, err))
	}
	return r, err
}

// scanFor reports on an image to one set of credentials. who keeps what the
// reference leads to; nil: it is not kept.
func (s *Scanner) scanFor(ctx context.Context, request Request, ref name.Reference, platform v1.Platform, credentials []authn.Authenticator, who *asked) (report.Report, error) {
	resolve := func() (resolution, error) { return s.resolve(ctx, ref, platform, credentials) }
	resolved, err := s.sharedResolution(ctx, who, resolve)
	if err != nil {
		return report.Report{}, err
	}
	if !resolved.found() {
		return resolved.without(request.Platform), nil
	}
	repository := ref.Context()
	if request.Hinted {
		hinted, err := s.hinted(ctx, request, ref, &resolved)
		if err != nil {
			return report.Report{}, err
		}
		if !hinted {
			r := notRead(request.Reference)
			r.Image = repository.Digest(resolved.digest.String()).String()
			return r, nil
		}
	}
	k := flightKey{
		key{repository.RegistryStr(), resolved.digest.String(), request.Platform, request.Others},
		repository.Name(), request.Early && s.options.StopEarly,
	}
	r, err := s.shared(ctx, k, request, resolved)
	if err != nil {
		return report.Report{}, err
	}
	// The first to ask may have known it by another repository.
	r.Image = repository.Digest(resolved.digest.String()).String()
	return r, nil
}

// sharedResolution returns what a reference leads to for one set of credentials:
// remembered, from a request under way, or from this one. who is nil where
// credentials cannot be told apart: nothing is shared then.
func (s *Scanner) sharedResolution(ctx context.Context, who *asked, resolve func() (resolution, error)) (resolution, error) {
	if who == nil {
		return resolve()
	}
	for {
		f, started := s.resolutions.join(*who, func() (resolution, bool) { return s.memo.resolution(*who) })
		if started {
			func() {
				f.err = errPanic // stands if it ends without another
				defer s.resolutions.land(*who, f, func(r resolution) { s.memo.keepResolution(*who, r) })
				f.value, f.err = resolve()
			}()
		}
		r, err := f.wait(ctx, false)
		if !started && isContextError(err) && ctx.Err() == nil {
			continue // the one who asked ran out of time, this one has not
		}
		return r, err
	}
}

// shared returns the report of k: remembered, from a scan under way, or from
// one that it starts.
func (s *Scanner) shared(ctx context.Context, k flightKey, request Request, image resolution) (report.Report, error) {
	f, started := s.images.join(k, func() (report.Report, bool) { return s.reports.Get(k.key) })
	if started || !f.landed() {
		s.scans.ask(&f.ticket, request.Namespace, 1) // whoever joins brings their own turn
	}
	if started {
		go s.fly(context.WithoutCancel(ctx), k, f, image)
	} else {
		s.observe(func(o Observer) { o.Shared() })
	}
	r, err := f.wait(ctx, request.Early)
	return clone(r), err
}

// fly carries out a scan on behalf of all who wait for it.
func (s *Scanner) fly(ctx context.Context, k flightKey, f *flight[report.Report], image resolution) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Limits.ScanTime)
	defer cancel()
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("%w: %v", errPanic, p)
		}
		s.images.land(k, f, func(r report.Report) {
			if !k.early || r.Complete {
				s.reports.Add(k.key, r)
			}
		})
		var failure report.FailureClass
		if f.err != nil {
			failure = classify(f.err)
		}
		s.observe(func(o Observer) { o.Scanned(time.Since(start), failure) })
	}()
	by, release, err := s.scans.wait(ctx, &f.ticket)
	if err != nil {
		f.err = err
		return
	}
	defer release()
	s.observe(func(o Observer) { o.Waited(time.Since(start)) })
	ctx = withOwner(ctx, by)
	f.value, f.err = s.readImage(ctx, image, s.withTables(blobsOf(image.source, image.manifest, k.others), image.source, image.manifest), func(r report.Report) bool {
		f.announce(r)
		return k.early
	})
}

// Load returns how many scans are under way and how many requests wait for their
// turn.
func (s *Scanner) Load() (running, waiting int) {
	held, waiting := s.scans.load()
	return int(held), waiting
}

func (s *Scanner) observe(tell func(Observer)) {
	if s.options.Observer != nil {
		tell(s.options.Observer)
	}
}

// clone keeps callers from sharing the cache's slices.
func clone(r report.Report) report.Report {
	r.Binaries, r.Gaps, r.ThroughTable = slices.Clone(r.Binaries), slices.Clone(r.Gaps), slices.Clone(r.ThroughTable)
	return r
}
