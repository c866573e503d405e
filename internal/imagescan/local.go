package imagescan

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"

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
	open := (*Scanner).openLayout
	path, local := strings.CutPrefix(request.Reference, prefixLayout)
	if !local {
		open = (*Scanner).openTarball
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
type opener func(s *Scanner, ctx context.Context, path string, platform v1.Platform) (resolution, []layers.Blob, error)

func (s *Scanner) scanLocal(ctx context.Context, path string, request Request, open opener) (report.Report, error) {
	platform, err := s.validate(request)
	if err != nil {
		return report.Report{}, err
	}
	resolved, blobs, err := open(s, ctx, path, platform)
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
	image := layers.Image{Blobs: blobs, Config: resolved.layersConfig()}
	if request.Early {
		image.Early = func(report.Report) bool { return true }
	}
	r, err := s.read(ctx, image)
	r.Image = path + "@" + resolved.manifest.digest.String()
	return r, err
}

// layoutSource is an OCI image layout on disk.
type layoutSource struct{ path layout.Path }

func (l layoutSource) Manifest(ctx context.Context, identifier string, reserve registry.Reserve) (registry.Manifest, error) {
	digest, err := v1.NewHash(identifier)
	if err != nil {
		return registry.Manifest{}, fmt.Errorf("%w: %w", registry.ErrReference, err)
	}
	raw, release, err := readVerified(ctx, l, digest, registry.MaxManifestBytes, reserve)
	return registry.Manifest{Raw: raw, Release: release, Digest: digest}, err
}

func (l layoutSource) Blob(_ context.Context, digest v1.Hash) (io.ReadCloser, error) {
	return l.path.Blob(digest)
}

// index reads the layout's index.json.
func (l layoutSource) index(ctx context.Context, d documents) (*manifest, error) {
	f, err := os.Open(filepath.Join(string(l.path), "index.json"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, release, err := registry.ReadDocument(ctx, f, -1, registry.MaxManifestBytes, d.reserve)
	if err != nil {
		return nil, err
	}
	defer release()
	return parseManifest(registry.Manifest{Raw: raw, MediaType: types.OCIImageIndex}, d.maxLayers)
}

// openLayout chooses the platform's image of an OCI image layout. A layout may
// hold several images: DIR:NAME and DIR@DIGEST select one.
func (s *Scanner) openLayout(ctx context.Context, path string, platform v1.Platform) (resolution, []layers.Blob, error) {
	dir, wanted := splitLayout(path)
	source := layoutSource{layout.Path(dir)}
	from := s.documentsOf(source)
	index, err := source.index(ctx, from)
	if err != nil {
		return resolution{}, nil, fmt.Errorf("%s is no OCI image layout: %w", dir, err)
	}
	var found resolution
	for _, e := range index.entries {
		if wanted != "" && e.name != wanted && e.digest.String() != wanted {
			continue
		}
		c := chooser{from: from, platform: platform}
		r, err := c.entries(ctx, []entry{e}, 0)
		switch {
		case err != nil:
			return resolution{}, nil, err
		case found.found() && r.found() && r.manifest.digest != found.manifest.digest:
			return resolution{}, nil, fmt.Errorf("%s holds several images for the platform, %s and %s among them: "+
				"give one as %s%s@DIGEST, or %s%s:NAME",
				dir, found.manifest.digest, r.manifest.digest, prefixLayout, dir, prefixLayout, dir)
		case r.found(), !found.found() && r.gap != nil:
			found = r
		case !found.found():
			found.offers = append(found.offers, r.offers...)
		}
	}
	if wanted != "" && !found.found() && found.gap == nil && len(found.offers) == 0 {
		return resolution{}, nil, fmt.Errorf("%w: %s holds no image %s", errNoSuchImage, dir, wanted)
	}
	found.from = from
	return found, nil, nil
}

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
