package imagescan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Bounds of indexes.
const (
	// maxIndexDepth is how many may lie within each other.
	maxIndexDepth = 4
	// maxIndexEntries is how many manifests and indexes are read to find the
	// platform's.
	maxIndexEntries = 64
)

// resolution is what a reference comes to for a platform.
type resolution struct {
	source   source
	digest   v1.Hash        // of the platform's manifest
	manifest *v1.Manifest   // nil when the image has nothing for the platform
	config   *v1.ConfigFile // nil: not read
	offers   []string       // the platforms that the image is for, as far as it says
	gap      *report.Gap    // why it cannot be read at all
}

// found reports whether there is something to read.
func (r resolution) found() bool { return r.manifest != nil }

// without reports on an image that has nothing to read for a platform.
func (r resolution) without(platform string) report.Report {
	empty := report.New()
	if r.gap != nil {
		empty.Complete = false
		empty.Gaps = append(empty.Gaps, *r.gap)
		return empty
	}
	detail := "the image does not say which platforms it is for"
	if len(r.offers) > 0 {
		detail = fmt.Sprintf("the image is for %v", r.offers)
	}
	empty.Gaps = append(empty.Gaps, report.Gap{Where: platform, Reason: report.GapNoPlatform, Detail: detail})
	return empty
}

func (s *Scanner) parse(reference string) (name.Reference, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errReference, err)
	}
	if allowsPlain(s.options.PlainHTTP, ref.Context().RegistryStr()) {
		return name.ParseReference(reference, name.Insecure)
	}
	return ref, nil
}

// resolve finds a platform's manifest, with the first credential that the
// registry accepts, as a kubelet would.
func (s *Scanner) resolve(ctx context.Context, ref name.Reference, platform v1.Platform, candidates []authn.Authenticator) (resolution, error) {
	if len(candidates) == 0 {
		candidates = []authn.Authenticator{authn.Anonymous}
	}
	var refused error
	for _, auth := range candidates {
		r, err := s.resolveWith(ctx, ref, platform, auth)
		if err == nil {
			return r, nil
		}
		if classify(err) != report.FailureUnauthorized {
			return resolution{}, err
		}
		refused = errors.Join(refused, err)
	}
	return resolution{}, fmt.Errorf("none of %d credentials was accepted: %w", len(candidates), refused)
}

func (s *Scanner) resolveWith(ctx context.Context, ref name.Reference, platform v1.Platform, auth authn.Authenticator) (resolution, error) {
	opened := s.open(ref.Context(), auth)
	var top document
	var err error
	if digest, ok := ref.(name.Digest); ok {
		h, err := v1.NewHash(digest.DigestStr())
		if err != nil {
			return resolution{}, fmt.Errorf("%w: %w", errReference, err)
		}
		top, err = opened.manifest(ctx, h)
		if err != nil {
			return resolution{}, err
		}
	} else if top, err = opened.named(ctx, ref.Identifier()); err != nil {
		return resolution{}, err
	}
	return choose(ctx, opened, top, platform)
}

// choose finds a platform's image in what a reference leads to.
func choose(ctx context.Context, from source, top document, platform v1.Platform) (resolution, error) {
	c := chooser{from: from, platform: platform}
	r, err := c.document(ctx, top, 0)
	r.source = from
	return r, err
}

// chooser finds the image for a platform.
type chooser struct {
	from     source
	platform v1.Platform
	read     int // manifests so far
}

func (c *chooser) document(ctx context.Context, d document, depth int) (resolution, error) {
	kind, err := d.kind()
	switch {
	case err != nil:
		return resolution{}, err
	case kind.IsIndex():
		return c.index(ctx, d, depth)
	case kind.IsImage():
		return c.image(ctx, d)
	}
	if gap, ok := unreadable(kind); ok {
		return resolution{gap: &report.Gap{Where: d.digest.String(), Reason: "not-readable", Detail: gap}}, nil
	}
	return resolution{}, fmt.Errorf("%w image: %q is no image's media type", imagefs.ErrMalformed, kind)
}

// unreadable names the manifests that are known and hold nothing that a current
// container runtime could run.
func unreadable(kind types.MediaType) (string, bool) {
	switch kind {
	case types.DockerManifestSchema1, types.DockerManifestSchema1Signed:
		return "a Docker schema 1 manifest, which current container runtimes do not pull: push the image again", true
	case "application/vnd.oci.artifact.manifest.v1+json":
		return "an OCI artifact, which is no image", true
	}
	return "", false
}

// image checks that a single image is for the platform.
func (c *chooser) image(ctx context.Context, d document) (resolution, error) {
	manifest, err := parseManifest(d)
	if err != nil {
		return resolution{}, err
	}
	if t := manifest.Config.MediaType; !t.IsConfig() {
		return resolution{gap: &report.Gap{Where: d.digest.String(), Reason: "not-readable", Detail: fmt.Sprintf("an artifact of type %q, which is no image", t)}}, nil
	}
	config, err := readConfig(ctx, c.from, manifest)
	if err != nil {
		return resolution{}, fmt.Errorf("image configuration: %w", err)
	}
	offered := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	r := resolution{offers: []string{offered.String()}}
	// What says nothing runs wherever it is put.
	if offered.OS == "" && offered.Architecture == "" || satisfies(offered, c.platform) {
		r.digest, r.manifest, r.config = d.digest, manifest, config
	}
	return r, nil
}

func parseManifest(d document) (*v1.Manifest, error) {
	manifest, err := v1.ParseManifest(bytes.NewReader(d.raw))
	if err != nil {
		return nil, fmt.Errorf("%w manifest: %w", imagefs.ErrMalformed, err)
	}
	return manifest, nil
}

func readConfig(ctx context.Context, from source, manifest *v1.Manifest) (*v1.ConfigFile, error) {
	raw, err := readSmall(ctx, from, manifest.Config)
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{}
	if err := json.Unmarshal(raw, config); err != nil {
		return nil, fmt.Errorf("%w: %w", imagefs.ErrMalformed, err)
	}
	return config, nil
}

// index picks the platform's manifest. Attestations and whatever else is marked
// as no platform's are passed over.
func (c *chooser) index(ctx context.Context, d document, depth int) (resolution, error) {
	if depth >= maxIndexDepth {
		return resolution{}, fmt.Errorf("%w: more than %d indexes within each other", imagefs.ErrTooLarge, maxIndexDepth)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(d.raw))
	if err != nil {
		return resolution{}, fmt.Errorf("%w image index: %w", imagefs.ErrMalformed, err)
	}
	return c.entries(ctx, index.Manifests, depth)
}

func (c *chooser) entries(ctx context.Context, entries []v1.Descriptor, depth int) (resolution, error) {
	var all resolution
	for _, entry := range entries {
		if entry.Platform != nil && entry.Platform.OS == "unknown" || entry.Annotations["vnd.docker.reference.type"] != "" {
			continue
		}
		if !entry.MediaType.IsIndex() && !entry.MediaType.IsImage() {
			continue
		}
		// An entry that names its platform is read only if it is the one.
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
	d, err := c.from.manifest(ctx, entry.Digest)
	if err != nil {
		return resolution{}, fmt.Errorf("manifest %s: %w", entry.Digest, err)
	}
	d.mediaType = entry.MediaType
	if entry.MediaType.IsIndex() || entry.Platform == nil {
		return c.document(ctx, d, depth+1)
	}
	manifest, err := parseManifest(d)
	return resolution{digest: d.digest, manifest: manifest}, err
}

// satisfies reports whether something offered for one platform runs on another.
// arm64 and arm64/v8 are the same: v8 is the first version of the architecture.
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

// isForeign reports whether a layer's content is kept somewhere else, as that
// of Windows base images is.
func isForeign(m types.MediaType) bool { return !m.IsDistributable() }
