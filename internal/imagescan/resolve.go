package imagescan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// maxConfigBytes is the largest image configuration that is read.
const maxConfigBytes = 8 << 20

// maxIndexDepth is how many indexes may lie within each other.
const maxIndexDepth = 4

// resolution is what a reference comes to for a platform.
type resolution struct {
	digest v1.Hash // of the platform's manifest; zero when there is none
	auth   authn.Authenticator
	offers []string // the platforms that the image is for, as far as it says
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

// retries are short: an admission request waits.
var retries = remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}

// remoteOptions are those of every request to a registry.
func (s *Scanner) remoteOptions(ctx context.Context, auth authn.Authenticator) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(s.options.Transport), remote.WithUserAgent(s.options.UserAgent),
		remote.WithRetryBackoff(retries),
	}
}

// resolve finds a platform's manifest, with the first credential that the
// registry accepts, as a kubelet would.
func (s *Scanner) resolve(ctx context.Context, ref name.Reference, platform v1.Platform, credentials Credentials) (resolution, error) {
	var candidates []authn.Authenticator
	if credentials != nil {
		candidates = credentials.For(ref.Context())
	}
	if len(candidates) == 0 {
		candidates = []authn.Authenticator{authn.Anonymous}
	}
	var refused error
	for _, auth := range candidates {
		r, err := s.resolveWith(ctx, ref, platform, auth)
		if err == nil {
			r.auth = auth
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
	descriptor, err := remote.Get(ref, s.remoteOptions(ctx, auth)...)
	if err != nil {
		return resolution{}, err
	}
	switch {
	case descriptor.MediaType.IsIndex():
		index, err := descriptor.ImageIndex()
		if err != nil {
			return resolution{}, err
		}
		return chooseFromIndex(index, platform, 0)
	case descriptor.MediaType.IsImage():
		image, err := descriptor.Image()
		if err != nil {
			return resolution{}, err
		}
		return chooseImage(image, descriptor.Digest, platform)
	case descriptor.MediaType.IsSchema1():
		return resolution{}, fmt.Errorf("%w image: Docker schema 1 manifests are not read; push it again with a current tool", imagefs.ErrMalformed)
	}
	return resolution{}, fmt.Errorf("%w image: %s is no image's media type", imagefs.ErrMalformed, descriptor.MediaType)
}

// chooseImage checks that a single image is for the platform.
func chooseImage(image v1.Image, digest v1.Hash, platform v1.Platform) (resolution, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return resolution{}, fmt.Errorf("%w manifest: %w", imagefs.ErrMalformed, err)
	}
	// The configuration is read whole: its size has to be known and small first.
	if size := manifest.Config.Size; size < 0 || size > maxConfigBytes {
		return resolution{}, fmt.Errorf("%w: the image's configuration has %d bytes, the limit is %d", imagefs.ErrTooLarge, size, maxConfigBytes)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return resolution{}, fmt.Errorf("image configuration: %w", err)
	}
	offered := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	r := resolution{offers: []string{offered.String()}}
	if satisfies(offered, platform) {
		r.digest = digest
	}
	return r, nil
}

// chooseFromIndex picks the platform's manifest. Attestations and whatever else
// is marked as no platform's are passed over.
func chooseFromIndex(index v1.ImageIndex, platform v1.Platform, depth int) (resolution, error) {
	if depth >= maxIndexDepth {
		return resolution{}, fmt.Errorf("%w: more than %d indexes within each other", imagefs.ErrTooLarge, maxIndexDepth)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return resolution{}, fmt.Errorf("%w image index: %w", imagefs.ErrMalformed, err)
	}
	var all resolution
	for _, d := range manifest.Manifests {
		switch {
		case d.Platform != nil && d.Platform.OS == "unknown", d.Annotations["vnd.docker.reference.type"] != "":
			continue
		case d.MediaType.IsIndex():
			nested, err := index.ImageIndex(d.Digest)
			if err != nil {
				return resolution{}, fmt.Errorf("nested image index: %w", err)
			}
			r, err := chooseFromIndex(nested, platform, depth+1)
			if err != nil || r.digest != (v1.Hash{}) {
				return r, err
			}
			all.offers = append(all.offers, r.offers...)
		case d.MediaType.IsImage():
			r := resolution{}
			if d.Platform == nil {
				image, err := index.Image(d.Digest)
				if err != nil {
					return resolution{}, fmt.Errorf("image in an index: %w", err)
				}
				if r, err = chooseImage(image, d.Digest, platform); err != nil {
					return resolution{}, err
				}
			} else {
				r.offers = []string{d.Platform.String()}
				if satisfies(*d.Platform, platform) {
					r.digest = d.Digest
				}
			}
			if r.digest != (v1.Hash{}) {
				return r, nil
			}
			all.offers = append(all.offers, r.offers...)
		}
	}
	return all, nil
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
