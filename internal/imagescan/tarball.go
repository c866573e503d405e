package imagescan

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
)

// openTarball opens the single image of a tarball. Its layers are verified
// uncompressed, by the digests of the configuration: their compressed form in a
// registry is unknown.
func (s *Scanner) openTarball(ctx context.Context, file string, platform v1.Platform) (resolution, []layers.Blob, error) {
	config, err := s.tarballConfiguration(ctx, file)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, imagefs.ErrTooLarge) || errors.Is(err, registry.ErrTooLarge) {
		return resolution{}, nil, err
	}
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no tarball with one image: %w", file, err)
	}
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no tarball with one image: %w", file, err)
	}
	digest, err := image.ConfigName()
	if err != nil {
		return resolution{}, nil, err
	}
	offered := config.platform
	if !satisfies(offered, platform) {
		return resolution{offers: []string{offered.String()}}, nil, nil
	}
	stored, err := image.Layers()
	if err != nil {
		return resolution{}, nil, err
	}
	if listed := len(config.diffIDs); listed != len(stored) {
		return resolution{}, nil, fmt.Errorf("%w: %s has %d layers and lists %d", imagefs.ErrMalformed, file, len(stored), listed)
	}
	blobs := []layers.Blob{}
	for i, layer := range stored {
		open := func(context.Context) (io.ReadCloser, error) { return layer.Uncompressed() }
		blobs = append(blobs, layers.Blob{Digest: config.diffIDs[i], Size: -1, Open: open})
	}
	return resolution{manifest: &manifest{digest: digest}, config: config}, blobs, nil
}

// tarballConfiguration reads the configuration of a tarball's single image, and
// bounds both documents before go-containerregistry reads them whole.
func (s *Scanner) tarballConfiguration(ctx context.Context, file string) (*configuration, error) {
	limits := s.options.Limits
	name, images := "", 0
	err := s.withTarDocument(ctx, file, "manifest.json", func(raw []byte) error {
		return decodeList("manifest.json", raw, func(d *document) error {
			images++
			return d.object(
				d.token("Config", &name),
				d.texts("RepoTags", func(string) {}),
				field{"Layers", func() error {
					return d.list(limits.Layers, func() error {
						_, err := d.text(maxTokenBytes)
						return err
					})
				}},
				field{"LayerSources", func() error {
					return d.members(func(string) error {
						var unused manifest
						return d.layer(&unused)
					})
				}},
			)
		})
	})
	if err != nil {
		return nil, err
	}
	if images != 1 {
		return nil, fmt.Errorf("%w: it has %d images", imagefs.ErrMalformed, images)
	}
	var config *configuration
	err = s.withTarDocument(ctx, file, name, func(raw []byte) error {
		config, err = parseConfiguration(raw, limits.Layers, s.options.Inspector.IsHint)
		return err
	})
	return config, err
}

// withTarDocument calls read with a document of a tar file.
func (s *Scanner) withTarDocument(ctx context.Context, file, name string, read func([]byte) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for archive := tar.NewReader(f); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: it has no %.80q", imagefs.ErrMalformed, name)
		}
		if err != nil {
			return err
		}
		if path.Clean(header.Name) != path.Clean(name) {
			continue
		}
		if header.Typeflag != tar.TypeReg {
			return fmt.Errorf("%w: %.80q is no regular file", imagefs.ErrMalformed, name)
		}
		raw, release, err := registry.ReadDocument(ctx, archive, header.Size, maxDocumentBytes, s.fileBudget.Acquire)
		if err != nil {
			return fmt.Errorf("%.80q: %w", name, err)
		}
		defer release()
		return read(raw)
	}
}
