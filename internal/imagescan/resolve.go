package imagescan

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// Bounds of indexes.
const (
	// maxIndexDepth is the deepest nesting of indexes.
	maxIndexDepth = 4
	// maxIndexEntries bounds the manifests and indexes that are read to find the
	// one for a platform.
	maxIndexEntries = 64
)

// resolution is the image of a reference for a platform.
type resolution struct {
	from     documents
	manifest *manifest      // nil if the image has no variant for the platform
	config   *configuration // nil if not read
	offers   []string       // the platforms of the image, as far as it declares them
	gap      *report.Gap    // why the image cannot be read
}

// bytes returns the approximate memory of the resolution, in bytes.
func (r resolution) bytes() int64 {
	const perResolution = 4 << 10 // with the session
	n := int64(perResolution)
	if r.manifest != nil {
		n += r.manifest.bytes()
	}
	if r.config != nil {
		n += r.config.bytes()
	}
	for _, platform := range r.offers {
		n += int64(len(platform)) + 16
	}
	if r.gap != nil {
		n += int64(len(r.gap.Where) + len(r.gap.Detail))
	}
	return n
}

// found reports whether there is an image to read.
func (r resolution) found() bool { return r.manifest != nil }

// emptyReport reports on a reference without an image to read for a platform.
func (r resolution) emptyReport(platform string) report.Report {
	if r.gap != nil {
		return incomplete(*r.gap)
	}
	detail := "the image does not say which platforms it is for"
	if len(r.offers) > 0 {
		detail = fmt.Sprintf("the image is for %v", r.offers)
	}
	empty := report.New()
	empty.Gaps = append(empty.Gaps, report.Gap{Where: platform, Reason: report.GapNoPlatform, Detail: detail})
	return empty
}

// incomplete returns a report with a gap alone.
func incomplete(gap report.Gap) report.Report {
	r := report.New()
	r.Complete, r.Gaps = false, append(r.Gaps, gap)
	return r
}

// layersConfig returns the configuration that package layers reads; nil if there
// is no configuration.
func (r resolution) layersConfig() *layers.Config {
	if r.config == nil {
		return nil
	}
	return &r.config.Config
}

// readConfig reads the image's configuration, if any, on first use.
func (r *resolution) readConfig(ctx context.Context) (err error) {
	if r.config == nil && r.manifest.config.mediaType.IsConfig() {
		r.config, err = r.from.configuration(ctx, r.manifest.config)
	}
	return err
}

// resolve finds a platform's manifest with the first credential that the registry
// accepts, as a kubelet does.
func (s *Scanner) resolve(ctx context.Context, ref name.Reference, platform v1.Platform, credentials []authn.Authenticator) (resolution,
	error) {
	if len(credentials) == 0 {
		credentials = []authn.Authenticator{authn.Anonymous}
	}
	var refused error
	for _, auth := range credentials {
		r, err := s.resolveWith(ctx, ref, platform, auth)
		if err == nil {
			return r, nil
		}
		if classify(err) != report.FailureUnauthorized {
			return resolution{}, err
		}
		refused = errors.Join(refused, err)
	}
	return resolution{}, fmt.Errorf("none of %d credentials was accepted: %w", len(credentials), refused)
}

func (s *Scanner) resolveWith(ctx context.Context, ref name.Reference, platform v1.Platform, auth authn.Authenticator) (resolution, error) {
	c := chooser{from: s.documentsOf(s.options.Registry.Open(ref.Context(), auth)), platform: platform}
	identifier := ref.Identifier()
	if digest, ok := ref.(name.Digest); ok {
		if _, err := v1.NewHash(digest.DigestStr()); err != nil {
			return resolution{}, fmt.Errorf("%w: %w", registry.ErrReference, err)
		}
	}
	top, err := c.from.manifest(ctx, identifier, "")
	if err != nil {
		return resolution{}, err
	}
	r, err := c.choose(ctx, top, 0)
	r.from = c.from
	return r, err
}

// chooser finds the image for a platform.
type chooser struct {
	from     documents
	platform v1.Platform
	read     int // manifests so far
}

func (c *chooser) choose(ctx context.Context, m *manifest, depth int) (resolution, error) {
	switch t := m.mediaType; {
	case t.IsIndex():
		if depth >= maxIndexDepth {
			return resolution{}, fmt.Errorf("%w: more than %d indexes within each other", imagefs.ErrTooLarge, maxIndexDepth)
		}
		return c.entries(ctx, m.entries, depth)
	case t.IsImage():
		return c.image(ctx, m)
	case t == types.DockerManifestSchema1, t == types.DockerManifestSchema1Signed:
		return notReadable(m, "a Docker schema 1 manifest, which current container runtimes do not pull: push the image again"), nil
	case t == "application/vnd.oci.artifact.manifest.v1+json":
		return notReadable(m, "an OCI artifact, which is no image"), nil
	default:
		return resolution{}, fmt.Errorf("%w image: %.80q is no image's media type", imagefs.ErrMalformed, t)
	}
}

func notReadable(m *manifest, detail string) resolution {
	return resolution{gap: &report.Gap{Where: m.digest.String(), Reason: "not-readable", Detail: detail}}
}

// image checks that a single image is for the platform.
func (c *chooser) image(ctx context.Context, m *manifest) (resolution, error) {
	if t := m.config.mediaType; !t.IsConfig() {
		return notReadable(m, fmt.Sprintf("an artifact of type %.80q, which is no image", t)), nil
	}
	config, err := c.from.configuration(ctx, m.config)
	if err != nil {
		return resolution{}, err
	}
	offered := config.platform
	r := resolution{offers: c.offer(nil, offered)}
	// A runtime runs an image without a platform on any node.
	if offered.OS == "" && offered.Architecture == "" || satisfies(offered, c.platform) {
		r.manifest, r.config = m, config
	}
	return r, nil
}

// maxOffers bounds the platforms that a report on a missing one names.
const maxOffers = 64

// offer adds a platform to those of an image.
func (c *chooser) offer(offers []string, platform v1.Platform) []string {
	if len(offers) >= maxOffers {
		return offers
	}
	return append(offers, report.Shorten(platform.String(), maxPlaceBytes))
}

// entries picks the platform's manifest of an index. It skips attestations and
// other entries without a platform.
func (c *chooser) entries(ctx context.Context, entries []entry, depth int) (resolution, error) {
	var all resolution
	for _, e := range entries {
		if e.platform != nil && e.platform.OS == "unknown" || e.attestation || !e.mediaType.IsIndex() && !e.mediaType.IsImage() {
			continue
		}
		// An entry with a platform is read only if the platform fits.
		if e.mediaType.IsImage() && e.platform != nil && !satisfies(*e.platform, c.platform) {
			all.offers = c.offer(all.offers, *e.platform)
			continue
		}
		r, err := c.entry(ctx, e, depth)
		if err != nil || r.found() || r.gap != nil {
			return r, err
		}
		all.offers = append(all.offers, r.offers[:min(len(r.offers), maxOffers-len(all.offers))]...)
	}
	return all, nil
}

// entry reads one entry of an index.
func (c *chooser) entry(ctx context.Context, e entry, depth int) (resolution, error) {
	if c.read++; c.read > maxIndexEntries {
		return resolution{}, fmt.Errorf("%w: more than %d manifests do not tell their platform", imagefs.ErrTooLarge, maxIndexEntries)
	}
	m, err := c.from.manifest(ctx, e.digest.String(), e.mediaType)
	if err != nil {
		return resolution{}, fmt.Errorf("manifest %s: %w", e.digest, err)
	}
	if e.mediaType.IsIndex() || e.platform == nil {
		return c.choose(ctx, m, depth+1)
	}
	return resolution{manifest: m}, nil
}

// satisfies reports whether an image for one platform runs on another. arm64 and
// arm64/v8 are the same: v8 is the first version of the architecture.
func satisfies(offered, wanted v1.Platform) bool {
	variant := func(p v1.Platform) string {
		if p.Architecture == "arm64" && p.Variant == "v8" {
			return ""
		}
		return p.Variant
	}
	return offered.OS == wanted.OS && offered.Architecture == wanted.Architecture &&
		(wanted.Variant == "" || variant(offered) == variant(wanted))
}
