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
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// Prefixes of references to images on disk.
const (
	prefixLayout  = "oci:"
	prefixTarball = "tarball:"
)

// ScanAny reports on an image of a registry or on disk: oci:DIR is an OCI image
// layout (oci:DIR:NAME or oci:DIR@DIGEST one image of several), tarball:FILE an
// archive of docker save or crane pull, and any other reference an image of a
// registry. Errors are *Error.
func (s *Scanner) ScanAny(ctx context.Context, request Request) (report.Report, error) {
	open := openLayout
	path, local := strings.CutPrefix(request.Reference, prefixLayout)
	if !local {
		open = openTarball
		if path, local = strings.CutPrefix(request.Reference, prefixTarball); !local {
			return s.Scan(ctx, request)
		}
	}
	r, err := s.scanLocal(ctx, path, request, open)
	if err != nil {
		return report.Report{}, newError(request.Reference, err)
	}
	r.Reference, r.Platform = request.Reference, request.Platform
	return r, nil
}

// opener opens an image on disk for a platform. Its blobs are nil if they are
// those of the resolution's source.
type opener func(ctx context.Context, path string, platform v1.Platform) (resolution, []layers.Blob, error)

func (s *Scanner) scanLocal(ctx context.Context, path string, request Request, open opener) (report.Report, error) {
	platform, err := s.validate(request)
	if err != nil {
		return report.Report{}, err
	}
	resolved, blobs, err := open(ctx, path, platform)
	if err != nil {
		return report.Report{}, err
	}
	if !resolved.found() {
		return resolved.emptyReport(request.Platform), nil
	}
	if blobs == nil {
		blobs = s.blobsOf(resolved, request.AllBinaries)
	}
	for i := range blobs {
		blobs[i].AllBinaries = request.AllBinaries
	}
	if err := resolved.readConfig(ctx); err != nil {
		return report.Report{}, err
	}
	image := layers.Image{Blobs: blobs, Config: resolved.config}
	if request.Early {
		image.Early = func(report.Report) bool { return true }
	}
	r, err := s.reader.Read(ctx, image)
	r.Image = path + "@" + resolved.digest.String()
	return r, err
}

// layoutSource is an OCI image layout on disk.
type layoutSource struct{ path layout.Path }

func (l layoutSource) Manifest(ctx context.Context, digest v1.Hash) (registry.Manifest, error) {
	raw, err := readVerified(ctx, l, digest, registry.MaxManifestBytes)
	return registry.Manifest{Raw: raw, Digest: digest}, err
}

func (l layoutSource) Blob(_ context.Context, digest v1.Hash) (io.ReadCloser, error) {
	return l.path.Blob(digest)
}

// openLayout chooses the platform's image of an OCI image layout. A layout may
// hold several images: DIR:NAME and DIR@DIGEST select one.
func openLayout(ctx context.Context, path string, platform v1.Platform) (resolution, []layers.Blob, error) {
	dir, wanted := splitLayout(path)
	index, err := layout.ImageIndexFromPath(dir)
	var manifest *v1.IndexManifest
	if err == nil {
		manifest, err = index.IndexManifest()
	}
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	from := layoutSource{layout.Path(dir)}
	var found resolution
	for _, entry := range manifest.Manifests {
		if wanted != "" && entry.Annotations[imageName] != wanted && entry.Digest.String() != wanted {
			continue
		}
		c := chooser{from: from, platform: platform}
		r, err := c.entries(ctx, []v1.Descriptor{entry}, 0)
		switch {
		case err != nil:
			return resolution{}, nil, err
		case found.found() && r.found() && r.digest != found.digest:
			return resolution{}, nil, fmt.Errorf("%s holds several images for the platform, %s and %s among them: "+
				"give one as %s%s@DIGEST, or %s%s:NAME",
				dir, found.digest, r.digest, prefixLayout, dir, prefixLayout, dir)
		case r.found(), !found.found() && r.gap != nil:
			found = r
		case !found.found():
			found.offers = append(found.offers, r.offers...)
		}
	}
	if wanted != "" && !found.found() && found.gap == nil && len(found.offers) == 0 {
		return resolution{}, nil, fmt.Errorf("%w: %s holds no image %s", errNoSuchImage, dir, wanted)
	}
	found.source = from
	return found, nil, nil
}

// imageName is the annotation with an image's name in a layout (OCI image
// specification, "Pre-Defined Annotation Keys").
const imageName = "org.opencontainers.image.ref.name"

// splitLayout separates a layout's directory from the image's name or digest.
func splitLayout(path string) (dir, wanted string) {
	if _, err := os.Stat(path); err == nil {
		return path, ""
	}
	if dir, digest, ok := strings.Cut(path, "@"); ok {
		return dir, digest
	}
	if i := strings.LastIndexByte(path, ':'); i > 0 {
		return path[:i], path[i+1:]
	}
	return path, ""
}

// openTarball opens the single image of a tarball. Its layers are verified
// uncompressed, by the digests of the configuration: their compressed form in a
// registry is unknown.
func openTarball(_ context.Context, file string, platform v1.Platform) (resolution, []layers.Blob, error) {
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
	stored, err := image.Layers()
	if err != nil {
		return resolution{}, nil, err
	}
	if listed := len(config.RootFS.DiffIDs); listed != len(stored) {
		return resolution{}, nil, fmt.Errorf("%w: %s has %d layers and lists %d", imagefs.ErrMalformed, file, len(stored), listed)
	}
	blobs := []layers.Blob{}
	for i, layer := range stored {
		open := func(context.Context) (io.ReadCloser, error) { return layer.Uncompressed() }
		blobs = append(blobs, layers.Blob{Digest: config.RootFS.DiffIDs[i], Size: -1, Open: open})
	}
	return resolution{digest: digest, manifest: manifest, config: config}, blobs, nil
}
