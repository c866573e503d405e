// Package imagescan turns an image reference into a report: it resolves the
// reference for a platform (package registry), reads the layers (package
// layers), and caches and shares the results.
//
// It makes no judgement and knows no cluster. References, registries and images are
// hostile: Limits bound their cost, a verdict rests on bytes with a verified
// digest, and connections go through a guarded transport.
//
// Summaries of layers are cached by digest, reports by the digest of the
// manifest. A request uses them only after its own credentials obtained that
// manifest, and only for the registry that they were read from: anyone can run a
// registry, and one must not vouch for the content of another.
package imagescan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/report"
)

// Credentials are the credentials of one puller.
type Credentials interface {
	// For returns the credentials to try for a repository, in order. Empty means
	// anonymous access.
	For(repository name.Repository) []authn.Authenticator
}

// Request is one image to scan.
type Request struct {
	// Reference is the image as a Pod writes it.
	Reference string
	// Platform is os/arch[/variant].
	Platform string
	// Credentials are the puller's; nil means anonymous access.
	Credentials Credentials
	// Hinted restricts the scan to images with a hint at a known product: in the
	// repository, the tag, the image's configuration or one of Words. The report
	// on any other image has one gap, of reason report.GapNotRead.
	Hinted bool
	// Words are the words of the puller's own command line for the image.
	Words []string
	// AllBinaries extends the scan from known products to every executable. The
	// report then contains all that make capability calls.
	AllBinaries bool
	// Namespace is the owner of the scan for fair scheduling.
	Namespace string
	// Early permits an incomplete report, as soon as it proves a legacy verdict.
	Early bool
}

// Scanner scans images. It is safe for concurrent use.
type Scanner struct {
	options Options
	reader  *layers.Reader

	scans *fairSemaphore
	// fileBudget and windowBudget are separate: the holder of a window waits for
	// files.
	fileBudget, windowBudget *fairSemaphore

	resolutionCache *resolutionCache
	resolutions     singleflightGroup[resolutionKey, resolution]
	hints           *lru.Cache[hintKey, bool]
	reports         *byteCache[reportKey, report.Report]
	images          singleflightGroup[scanKey, report.Report]
	layerCache      *byteCache[layerKey, *layers.Summary]
	reads           singleflightGroup[readKey, *layers.Summary]
}

// reportKey identifies a cached report. The registry is part of it: it decides
// who may see the image.
type reportKey struct {
	registry, digest, platform string
	allBinaries                bool
}

// scanKey identifies a scan in progress. Repositories are separate, because one
// may refuse a layer that another serves.
type scanKey struct {
	reportKey
	repository string
	early      bool // the scan may stop early, which other requests cannot share
}

// errNoScreen reports a Scanner without the means for Request.AllBinaries.
var errNoScreen = errors.New("imagescan: Inspector.Screen is required for a request for all binaries")

// New returns a Scanner.
func New(o Options) (*Scanner, error) {
	if o.Registry == nil || o.Inspector.Analyze == nil || o.Inspector.IsCandidate == nil {
		return nil, errors.New("imagescan: Registry, Inspector.Analyze and Inspector.IsCandidate are required")
	}
	o.Limits = o.Limits.withDefaults()
	memory := o.Limits.Memory / 2
	s := &Scanner{
		options:         o,
		scans:           newFairSemaphore(o.Limits.Scans, o.Limits.Scans/reservedShare, o.Limits.Waiting),
		fileBudget:      newFairSemaphore(memory, memory/reservedShare, 0),
		windowBudget:    newFairSemaphore(max(memory, o.Limits.Layer.WindowBytes), 0, 0), // too few windows to reserve one
		resolutionCache: newResolutionCache(o.ResolutionTTL, o.FailureTTL),
		layerCache:      newLayerCache(o.Limits.LayerCache),
	}
	s.reader = &layers.Reader{Inspector: o.Inspector, Limits: o.Limits.Limits, FileBudget: s.fileBudget, WindowBudget: s.windowBudget}
	s.reports = newByteCache(o.Limits.ReportCache, o.Limits.Cache,
		func(k reportKey, r report.Report) int64 {
			return int64(len(k.registry)+len(k.digest)+len(k.platform)) + r.Bytes()
		})
	s.hints, _ = lru.New[hintKey, bool](o.Limits.Cache) // fails only for a size that is not positive
	return s, nil
}

// Scan reports on an image of a registry. Errors are *Error. Each request
// resolves the reference with its own credentials, or uses a resolution with the
// same credentials of at most Options.ResolutionTTL ago, so that cached reports
// reveal no image to a puller without access.
//
// A scan that this call starts continues after ctx ends, for at most
// Limits.ScanTime: the call then returns class timeout, and a later one finds
// the report.
func (s *Scanner) Scan(ctx context.Context, request Request) (report.Report, error) {
	r, err := s.scan(ctx, request)
	if err != nil {
		return report.Report{}, newError(request.Reference, err)
	}
	r.Reference, r.Platform = request.Reference, request.Platform
	return r, nil
}

// validate checks a request and returns its platform.
func (s *Scanner) validate(request Request) (v1.Platform, error) {
	if request.AllBinaries && s.options.Inspector.Screen == nil {
		return v1.Platform{}, errNoScreen
	}
	platform, err := v1.ParsePlatform(request.Platform)
	if err != nil {
		return v1.Platform{}, fmt.Errorf("platform %q: %w", request.Platform, err)
	}
	return *platform, nil
}

func (s *Scanner) scan(ctx context.Context, request Request) (report.Report, error) {
	platform, err := s.validate(request)
	if err != nil {
		return report.Report{}, err
	}
	ref, err := s.options.Registry.ParseReference(request.Reference)
	if err != nil {
		return report.Report{}, err
	}
	var credentials []authn.Authenticator
	if request.Credentials != nil {
		credentials = request.Credentials.For(ref.Context())
	}
	ctx = withOwner(ctx, request.Namespace)
	resolve := func() (resolution, error) { return s.resolve(ctx, ref, platform, credentials) }
	cache := s.resolutionCache
	k, cacheable := cache.key(ref.Name(), request.Platform, credentials)
	if !cacheable {
		resolved, err := resolve()
		if err != nil {
			return report.Report{}, err
		}
		return s.scanResolved(ctx, request, ref, resolved)
	}
	if failed, ok := cache.failures.get(k); ok {
		return report.Report{}, failed
	}
	cached := func() (resolution, bool) { return cache.resolutions.get(k) }
	resolved, err := s.resolutions.do(ctx, k, cached, resolve, func(r resolution) { cache.resolutions.add(k, r) })
	var r report.Report
	if err == nil {
		r, err = s.scanResolved(ctx, request, ref, resolved)
	}
	if err != nil && ctx.Err() == nil {
		cache.addFailure(k, newError(request.Reference, err))
	}
	return r, err
}

// scanResolved reports on an image that the request may pull.
func (s *Scanner) scanResolved(ctx context.Context, request Request, ref name.Reference, resolved resolution) (report.Report, error) {
	if !resolved.found() {
		return resolved.emptyReport(request.Platform), nil
	}
	repository := ref.Context()
	image := repository.Digest(resolved.manifest.digest.String()).String()
	if request.Hinted {
		hinted, err := s.hinted(ctx, request, ref, &resolved)
		if err != nil {
			return report.Report{}, err
		}
		if !hinted {
			r := incomplete(report.Gap{Where: request.Reference, Reason: report.GapNotRead,
				Detail: "no sign of a known product in its reference, configuration or command"})
			r.Image = image
			return r, nil
		}
	}
	k := scanKey{
		reportKey{repository.RegistryStr(), resolved.manifest.digest.String(), request.Platform, request.AllBinaries},
		repository.Name(), request.Early && s.options.StopEarly,
	}
	r, err := s.sharedScan(ctx, k, request, resolved)
	if err != nil {
		return report.Report{}, err
	}
	r.Image = image // a cached report names the repository of its first request
	return r, nil
}

// sharedScan returns the report of k: cached, of a scan in progress, or of a new
// scan.
func (s *Scanner) sharedScan(ctx context.Context, k scanKey, request Request, image resolution) (report.Report, error) {
	c, started := s.images.join(k, func() (report.Report, bool) { return s.reports.get(k.reportKey) })
	s.scans.enqueue(&c.waiter, request.Namespace, 1) // each request queues the scan for its own namespace, too
	if started {
		go s.run(context.WithoutCancel(ctx), k, c, image)
	} else {
		s.observe(func(o Observer) { o.Shared() })
	}
	r, err := c.wait(ctx, request.Early)
	return clone(r), err
}

// run carries out a scan for all its callers.
func (s *Scanner) run(ctx context.Context, k scanKey, c *call[report.Report], image resolution) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Limits.ScanTime)
	defer cancel()
	start := time.Now()
	defer func() {
		if p := recover(); p != nil {
			c.err = fmt.Errorf("%w: %v", layers.ErrPanic, p)
		}
		s.images.finish(k, c, func(r report.Report) {
			if !k.early || r.Complete {
				s.reports.add(k.reportKey, r)
			}
		})
		var failure report.FailureClass
		if c.err != nil {
			failure = classify(c.err)
		}
		s.observe(func(o Observer) { o.Scanned(time.Since(start), failure) })
	}()
	namespace, release, err := s.scans.wait(ctx, &c.waiter)
	if err != nil {
		c.err = err
		return
	}
	defer release()
	s.observe(func(o Observer) { o.Waited(time.Since(start)) })
	ctx = withOwner(ctx, namespace)
	if c.err = image.readConfig(ctx); c.err != nil {
		return
	}
	c.value, c.err = s.read(ctx, layers.Image{
		Blobs:  s.blobsOf(image, k.allBinaries),
		Config: image.layersConfig(),
		Summarize: func(ctx context.Context, b layers.Blob, before *layers.Summary, wanted map[string]bool) (*layers.Summary, error) {
			return s.cachedSummary(ctx, k, b, before, wanted)
		},
		Early: func(r report.Report) bool {
			c.early = report.Bounded(r)
			close(c.published)
			return k.early
		},
	})
}

// read reads an image's layers, and bounds the report.
func (s *Scanner) read(ctx context.Context, image layers.Image) (report.Report, error) {
	r, err := s.reader.Read(ctx, image)
	return report.Bounded(r), err
}

// Load returns the numbers of running scans and of requests waiting for one.
func (s *Scanner) Load() (running, waiting int) {
	held, waiting := s.scans.load()
	return int(held), waiting
}

func (s *Scanner) observe(event func(Observer)) {
	if s.options.Observer != nil {
		event(s.options.Observer)
	}
}

// clone copies the slices of a report, which the cache shares between callers.
func clone(r report.Report) report.Report {
	r.Binaries, r.Gaps, r.ThroughTable = slices.Clone(r.Binaries), slices.Clone(r.Gaps), slices.Clone(r.ThroughTable)
	return r
}
