package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
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
	source   source
	digest   v1.Hash        // of the platform's manifest
	manifest *v1.Manifest   // nil if the image has no variant for the platform
	config   *v1.ConfigFile // nil if not read
	offers   []string       // the platforms of the image, as far as it declares them
	gap      *report.Gap    // why the image cannot be read
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

// readConfig reads the image's configuration, if any, on first use.
func (r *resolution) readConfig(ctx context.Context) (err error) {
	if r.config == nil && r.manifest.Config.MediaType.IsConfig() {
		r.config, err = readConfig(ctx, r.source, r.manifest)
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
	session := s.options.Registry.Open(ref.Context(), auth)
	var top registry.Manifest
	var err error
	if digest, ok := ref.(name.Digest); !ok {
		top, err = session.Resolve(ctx, ref.Identifier())
	} else if hash, malformed := v1.NewHash(digest.DigestStr()); malformed != nil {
		err = fmt.Errorf("%w: %w", registry.ErrReference, malformed)
	} else {
		top, err = session.Manifest(ctx, hash)
	}
	if err != nil {
		return resolution{}, err
	}
	c := chooser{from: session, platform: platform}
	r, err := c.choose(ctx, top, 0)
	r.source = session
	return r, err
}

// chooser finds the image for a platform.
type chooser struct {
	from     source
	platform v1.Platform
	read     int // manifests so far
}

func (c *chooser) choose(ctx context.Context, m registry.Manifest, depth int) (resolution, error) {
	mediaType, err := mediaTypeOf(m)
	switch {
	case err != nil:
		return resolution{}, err
	case mediaType.IsIndex():
		return c.index(ctx, m, depth)
	case mediaType.IsImage():
		return c.image(ctx, m)
	case mediaType == types.DockerManifestSchema1, mediaType == types.DockerManifestSchema1Signed:
		return notReadable(m, "a Docker schema 1 manifest, which current container runtimes do not pull: push the image again"), nil
	case mediaType == "application/vnd.oci.artifact.manifest.v1+json":
		return notReadable(m, "an OCI artifact, which is no image"), nil
	}
	return resolution{}, fmt.Errorf("%w image: %q is no image's media type", imagefs.ErrMalformed, mediaType)
}

func notReadable(m registry.Manifest, detail string) resolution {
	return resolution{gap: &report.Gap{Where: m.Digest.String(), Reason: "not-readable", Detail: detail}}
}

// image checks that a single image is for the platform.
func (c *chooser) image(ctx context.Context, m registry.Manifest) (resolution, error) {
	manifest, err := parseManifest(m)
	if err != nil {
		return resolution{}, err
	}
	if t := manifest.Config.MediaType; !t.IsConfig() {
		return notReadable(m, fmt.Sprintf("an artifact of type %q, which is no image", t)), nil
	}
	config, err := readConfig(ctx, c.from, manifest)
	if err != nil {
		return resolution{}, err
	}
	offered := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	r := resolution{offers: []string{offered.String()}}
	// A runtime runs an image without a platform on any node.
	if offered.OS == "" && offered.Architecture == "" || satisfies(offered, c.platform) {
		r.digest, r.manifest, r.config = m.Digest, manifest, config
	}
	return r, nil
}

// index picks the platform's manifest. It skips attestations and other entries
// without a platform.
func (c *chooser) index(ctx context.Context, m registry.Manifest, depth int) (resolution, error) {
	if depth >= maxIndexDepth {
		return resolution{}, fmt.Errorf("%w: more than %d indexes within each other", imagefs.ErrTooLarge, maxIndexDepth)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(m.Raw))
	if err != nil {
		return resolution{}, fmt.Errorf("%w image index: %w", imagefs.ErrMalformed, err)
	}
	return c.entries(ctx, index.Manifests, depth)
}

func (c *chooser) entries(ctx context.Context, entries []v1.Descriptor, depth int) (resolution, error) {
	var all resolution
	for _, entry := range entries {
		if entry.Platform != nil && entry.Platform.OS == "unknown" || entry.Annotations["vnd.docker.reference.type"] != "" ||
			!entry.MediaType.IsIndex() && !entry.MediaType.IsImage() {
			continue
		}
		// An entry with a platform is read only if the platform fits.
		if entry.MediaType.IsImage() && entry.Platform != nil && !satisfies(*entry.Platform, c.platform) {
			all.offers = append(all.offers, entry.Platform.String())
			continue
		}
		r, err := c.entry(ctx, entry, depth)
		if err != nil || r.found() || r.gap != nil {
			return r, err
		}
		all.offers = append(all.offers, r.offers...)
	}
	return all, nil
}

// entry reads one entry of an index.
func (c *chooser) entry(ctx context.Context, entry v1.Descriptor, depth int) (resolution, error) {
	if c.read++; c.read > maxIndexEntries {
		return resolution{}, fmt.Errorf("%w: more than %d manifests do not tell their platform", imagefs.ErrTooLarge, maxIndexEntries)
	}
	m, err := c.from.Manifest(ctx, entry.Digest)
	if err != nil {
		return resolution{}, fmt.Errorf("manifest %s: %w", entry.Digest, err)
	}
	m.MediaType = entry.MediaType
	if entry.MediaType.IsIndex() || entry.Platform == nil {
		return c.choose(ctx, m, depth+1)
	}
	manifest, err := parseManifest(m)
	return resolution{digest: m.Digest, manifest: manifest}, err
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
