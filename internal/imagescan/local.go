package imagescan

import (
	"context"
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
// layout (oci:DIR:NAME or oci:DIR@DIGEST one image of several), tarball:FILE what docker save or crane pull write, and anything else a
// reference. Errors are *Error.
func (s *Scanner) ScanAny(ctx context.Context, request Request) (report.Report, error) {
	var open func(ctx context.Context, place string, platform v1.Platform) (resolution, []blob, error)
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
	r, err := s.scanLocal(ctx, place, request, open)
	if err != nil {
		return report.Report{}, newError(request.Reference, err)
	}
	r.Reference, r.Platform = request.Reference, request.Platform
	return r, nil
}

func (s *Scanner) scanLocal(ctx context.Context, place string, request Request, open func(context.Context, string, v1.Platform) (resolution, []blob, error)) (report.Report, error) {
	if request.Others && s.options.Other == nil {
		return report.Report{}, errNoOther
	}
	platform, err := v1.ParsePlatform(request.Platform)
	if err != nil {
		return report.Report{}, fmt.Errorf("platform %q: %w", request.Platform, err)
	}
	resolved, blobs, err := open(ctx, place, *platform)
	if err != nil {
		return report.Report{}, err
	}
	if !resolved.found() {
		return resolved.without(request.Platform), nil
	}
	var early func(report.Report) bool
	if request.Early {
		early = func(report.Report) bool { return true }
	}
	if blobs == nil {
		blobs = blobsOf(resolved.source, resolved.manifest, request.Others)
	}
	for i := range blobs {
		blobs[i].others = request.Others
	}
	r, err := s.readImage(ctx, resolved, blobs, early)
	r.Image = place + "@" + resolved.digest.String()
	return r, err
}

// layoutSource is an OCI image layout on disk.
type layoutSource struct{ path layout.Path }

// manifest implements source.
func (l layoutSource) manifest(ctx context.Context, digest v1.Hash) (document, error) {
	stored, err := l.path.Blob(digest)
	if err != nil {
		return document{}, err
	}
	raw, err := readAll(ctx, stored, maxManifestBytes)
	if err != nil {
		return document{}, err
	}
	if sum, err := digestOf(raw); err != nil || sum != digest {
		return document{}, fmt.Errorf("%w: its content has the digest %s", imagefs.ErrMalformed, sum)
	}
	return document{raw: raw, digest: digest}, nil
}

// blob implements source.
func (l layoutSource) blob(_ context.Context, digest v1.Hash) (io.ReadCloser, error) {
	return l.path.Blob(digest)
}

// openLayout chooses the platform's image of an OCI image layout. A layout may
// hold several images: DIR:NAME and DIR@DIGEST say which one is meant.
func openLayout(ctx context.Context, place string, platform v1.Platform) (resolution, []blob, error) {
	dir, wanted := splitLayout(place)
	path, err := layout.FromPath(dir)
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	var found resolution
	for _, entry := range manifest.Manifests {
		if wanted != "" && entry.Annotations[imageName] != wanted && entry.Digest.String() != wanted {
			continue
		}
		c := chooser{from: layoutSource{path}, platform: platform}
		r, err := c.entries(ctx, []v1.Descriptor{entry}, 0)
		switch {
		case err != nil:
			return resolution{}, nil, err
		case found.found() && r.found() && r.digest != found.digest:
			return resolution{}, nil, fmt.Errorf("%s holds several images for the platform, %s and %s among them: give one as %s%s@DIGEST, or %s%s:NAME", dir, found.digest, r.digest, prefixLayout, dir, prefixLayout, dir)
		case r.found(), !found.found() && r.gap != nil:
			found = r
		case !found.found():
			found.offers = append(found.offers, r.offers...)
		}
	}
	if wanted != "" && !found.found() && found.gap == nil && len(found.offers) == 0 {
		return resolution{}, nil, fmt.Errorf("%w: %s holds no image %s", errNoSuchImage, dir, wanted)
	}
	found.source = layoutSource{path}
	return found, nil, nil
}

// imageName is the annotation that names an image in a layout (OCI image
// specification, "Pre-Defined Annotation Keys").
const imageName = "org.opencontainers.image.ref.name"

// splitLayout takes the image's name or digest off a layout's folder.
func splitLayout(place string) (dir, wanted string) {
	if _, err := os.Stat(place); err == nil {
		return place, ""
	}
	if dir, digest, ok := strings.Cut(place, "@"); ok {
		return dir, digest
	}
	if i := strings.LastIndexByte(place, ':'); i > 0 {
		return place[:i], place[i+1:]
	}
	return place, ""
}

// openTarball opens the one image of a tarball. Its layers are hashed unpacked,
// as the archive's configuration lists them: how they were packed in a registry
// is not known there.
func openTarball(_ context.Context, file string, platform v1.Platform) (resolution, []blob, error) {
	if _, err := os.Stat(file); err != nil {
		return resolution{}, nil, err
	}
	image, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no tarball with one image: %w", file, err)
	}
	digest, err := image.ConfigName()
	if err != nil {
		return resolution{}, nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return resolution{}, nil, err
	}
	offered := v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}
	if !satisfies(offered, platform) {
		return resolution{offers: []string{offered.String()}}, nil, nil
	}
	manifest, err := image.Manifest()
	if err != nil {
		return resolution{}, nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return resolution{}, nil, err
	}
	if len(config.RootFS.DiffIDs) != len(layers) {
		return resolution{}, nil, fmt.Errorf("%w: %s has %d layers and lists %d", imagefs.ErrMalformed, file, len(layers), len(config.RootFS.DiffIDs))
	}
	blobs := []blob{}
	for i, layer := range layers {
		open := func(context.Context) (io.ReadCloser, error) { return layer.Uncompressed() }
		blobs = append(blobs, blob{digest: config.RootFS.DiffIDs[i], size: -1, open: open})
	}
	return resolution{digest: digest, manifest: manifest, config: config}, blobs, nil
}
