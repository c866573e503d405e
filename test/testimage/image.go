// Package testimage builds OCI images for tests and the demo: layers from
// Debian packages or from files in memory, laid out like the images that people
// run, and images that are broken in one known way. The same input gives the
// same digests.
//
// It is not a builder for images that are to run: packages are unpacked and not
// configured. Its input is trusted, and images are kept in memory.
package testimage

import (
	"context"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec describes one platform's image.
type Spec struct {
	// Platform is the image's, for example {OS: "linux", Architecture: "arm64"}.
	Platform v1.Platform
	// Layers lie on each other, the lowest first.
	Layers []Layer
	// Config is the configuration of containers: environment, entry point,
	// command, user.
	Config v1.Config
}

// Layer is one layer's content: the packages' files, then Files.
type Layer struct {
	// Debs are paths of Debian packages.
	Debs []string
	// Files come after the packages' files and replace those with the same path.
	Files []File
	// CreatedBy is the layer's line in the history.
	CreatedBy string
	// MediaType is types.OCILayer if empty: gzip. types.OCILayerZStd and
	// types.DockerLayer are known too.
	MediaType types.MediaType
}

// created is the default time of files, layers and images.
var created = v1.Time{Time: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}

// Build builds the image.
func Build(ctx context.Context, spec Spec) (v1.Image, error) {
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = spec.Platform.OS, spec.Platform.Architecture, spec.Platform.Variant
	config.Config = spec.Config
	config.Created = created
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	var additions []mutate.Addendum
	for i, content := range spec.Layers {
		layer, err := content.build(ctx)
		if err != nil {
			return nil, fmt.Errorf("layer %d (%s): %w", i, content.CreatedBy, err)
		}
		mediaType, err := layer.MediaType()
		if err != nil {
			return nil, err
		}
		additions = append(additions, mutate.Addendum{
			Layer:     layer,
			MediaType: mediaType,
			History:   v1.History{CreatedBy: content.CreatedBy, Created: created},
		})
	}
	for _, line := range configHistory(spec.Config) {
		additions = append(additions, mutate.Addendum{History: v1.History{CreatedBy: line, Created: created, EmptyLayer: true}})
	}
	return mutate.Append(image, additions...)
}

// configHistory returns the history entries of instructions without a layer.
func configHistory(config v1.Config) []string {
	var lines []string
	for _, variable := range config.Env {
		lines = append(lines, "ENV "+variable)
	}
	if config.User != "" {
		lines = append(lines, "USER "+config.User)
	}
	if len(config.Entrypoint) > 0 {
		lines = append(lines, fmt.Sprintf(`ENTRYPOINT ["%s"]`, strings.Join(config.Entrypoint, `" "`)))
	}
	if len(config.Cmd) > 0 {
		lines = append(lines, fmt.Sprintf(`CMD ["%s"]`, strings.Join(config.Cmd, `" "`)))
	}
	return lines
}
