package imagescan

import (
	"context"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// hintKey identifies an image whose configuration was searched for hints.
type hintKey struct{ registry, digest string }

// hinted reports whether the reference, the request's words or the image's
// configuration hint at a known product. A configuration read here is stored in
// image.
func (s *Scanner) hinted(ctx context.Context, request Request, ref name.Reference, image *resolution) (bool, error) {
	isHint := s.options.Inspector.IsHint
	if isHint == nil {
		return false, nil
	}
	// The registry's name describes no single image.
	registry := ref.Context().RegistryStr()
	if isHint(strings.TrimPrefix(request.Reference, registry+"/")) || slices.ContainsFunc(request.Words, isHint) {
		return true, nil
	}
	k := hintKey{registry, image.manifest.digest.String()}
	if known, ok := s.hints.Get(k); ok {
		return known, nil
	}
	if err := image.readConfig(ctx); err != nil {
		return false, err
	}
	hinted := image.config != nil && image.config.hinted
	s.hints.Add(k, hinted)
	return hinted, nil
}
