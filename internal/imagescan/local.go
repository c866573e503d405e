package imagescan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Prefixes of references to images on disk.
const (
	prefixLayout  = "oci:"
	prefixTarball = "tarball:"
)

// ScanAny reports on an image of a registry or on disk: oci:DIR is an OCI image
// layout, tarball:FILE what docker save or crane pull write, and anything else a
// reference. Errors are *Error.
func (s *Scanner) ScanAny(ctx context.Context, request Request) (report.Report, error) {
	var open func(place string, platform v1.Platform) (resolution, []blob, error)
	place, ok := strings.CutPrefix(request.Reference, prefixLayout)
	switch {
	case ok:
		open = openLayout
	default:
		if place, ok = strings.CutPrefix(request.Reference, prefixTarball); !ok {
			return s.Scan(ctx, request)
		}
		open = openTarball
	}
	r, err := s.scanLocal(ctx, place, request.Platform, open)
	if err != nil {
		return report.Report{}, newError(request.Reference, err)
	}
	r.Reference, r.Platform = request.Reference, request.Platform
	return r, nil
}

func (s *Scanner) scanLocal(ctx context.Context, place, wanted string, open func(string, v1.Platform) (resolution, []blob, error)) (report.Report, error) {
	platform, err := v1.ParsePlatform(wanted)
	if err != nil {
		return report.Report{}, fmt.Errorf("platform %q: %w", wanted, err)
	}
	if _, err := os.Stat(place); err != nil {
		return report.Report{}, err
	}
	resolved, blobs, err := open(place, *platform)
	if err != nil {
		return report.Report{}, err
	}
	if resolved.digest == (v1.Hash{}) {
		return noPlatform(wanted, resolved.offers), nil
	}
	r, err := s.readBlobs(ctx, blobs)
	r.Image = place + "@" + resolved.digest.String()
	return r, err
}

// openLayout chooses the platform's image of an OCI image layout.
func openLayout(dir string, platform v1.Platform) (resolution, []blob, error) {
	path, err := layout.FromPath(dir)
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	resolved, err := chooseFromIndex(index, platform, 0)
	if err != nil || resolved.digest == (v1.Hash{}) {
		return resolved, nil, err
	}
	// Nested indexes are not searched by ImageIndex.Image: the layout is.
	image, err := path.Image(resolved.digest)
	if err != nil {
		return resolution{}, nil, err
	}
	blobs, err := blobsOf(image)
	for i := range blobs {
		digest := blobs[i].digest
		blobs[i].open = func() (io.ReadCloser, error) { return path.Blob(digest) }
	}
	return resolved, blobs, err
}

// openTarball opens the one image of a tarball. Its layers are hashed unpacked,
// as the archive's configuration lists them: how they were packed in a registry
// is not known there.
func openTarball(file string, platform v1.Platform) (resolution, []blob, error) {
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no tarball with one image: %w", file, err)
	}
	digest, err := image.ConfigName()
	if err != nil {
		return resolution{}, nil, err
	}
	resolved, err := chooseImage(image, digest, platform)
	if err != nil || resolved.digest == (v1.Hash{}) {
		return resolved, nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return resolution{}, nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return resolution{}, nil, err
	}
	if len(config.RootFS.DiffIDs) != len(layers) {
		return resolution{}, nil, errors.Join(imagefs.ErrMalformed, fmt.Errorf("%s has %d layers and lists %d", file, len(layers), len(config.RootFS.DiffIDs)))
	}
	var blobs []blob
	for i, layer := range layers {
		blobs = append(blobs, blob{digest: config.RootFS.DiffIDs[i], size: -1, open: layer.Uncompressed})
	}
	return resolved, blobs, nil
}
