package imagescan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/report"
)

// hintKey names an image whose configuration was looked at, as one registry
// holds it.
type hintKey struct{ registry, digest string }

// hinted reports whether the reference, the puller's words or the image's
// configuration hint at a known product. A configuration that it has to read
// for that is kept in image.
func (s *Scanner) hinted(ctx context.Context, request Request, ref name.Reference, image *resolution) (bool, error) {
	isHint := s.options.IsHint
	if isHint == nil {
		return false, nil
	}
	// The registry's name is left out: it says nothing of one image of many.
	registry := ref.Context().RegistryStr()
	if isHint(strings.TrimPrefix(request.Reference, registry+"/")) || slices.ContainsFunc(request.Words, isHint) {
		return true, nil
	}
	k := hintKey{registry, image.digest.String()}
	if known, ok := s.hints.Get(k); ok {
		return known, nil
	}
	if image.config == nil && image.manifest.Config.MediaType.IsConfig() {
		config, err := readConfig(ctx, image.source, image.manifest)
		if err != nil {
			return false, fmt.Errorf("image configuration: %w", err)
		}
		image.config = config
	}
	hinted := hintedBy(image.config, isHint)
	s.hints.Add(k, hinted)
	return hinted, nil
}

// hintedBy looks at all that an image's configuration says of what it holds: how
// it is run, its environment, its labels and how it was built.
func hintedBy(config *v1.ConfigFile, isHint func(string) bool) bool {
	if config == nil {
		return false
	}
	for _, texts := range [][]string{config.Config.Entrypoint, config.Config.Cmd, config.Config.Env} {
		if slices.ContainsFunc(texts, isHint) {
			return true
		}
	}
	for key, value := range config.Config.Labels {
		if isHint(key) || isHint(value) {
			return true
		}
	}
	return slices.ContainsFunc(config.History, func(h v1.History) bool { return isHint(h.CreatedBy) || isHint(h.Comment) })
}

// notRead reports on an image whose layers are not worth reading.
func notRead(reference string) report.Report {
	r := report.New()
	r.Complete = false
	r.Gaps = append(r.Gaps, report.Gap{Where: reference, Reason: report.GapNotRead, Detail: "no sign of a known product in its reference, configuration or command"})
	return r
}
