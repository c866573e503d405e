package imagescan

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
)

// source holds an image's manifests and blobs: a *registry.Session or a layout
// on disk.
type source interface {
	// Manifest returns the manifest or index with a digest, verified.
	Manifest(ctx context.Context, digest v1.Hash) (registry.Manifest, error)
	// Blob opens a blob. Its content is not verified. Reads end when ctx does.
	Blob(ctx context.Context, digest v1.Hash) (io.ReadCloser, error)
}

// maxConfigBytes is the largest image configuration, in bytes.
const maxConfigBytes = 8 << 20

// mediaTypeOf returns the type of a manifest. The type that its source declares
// takes precedence over the manifest's own. A manifest that could be read both
// as an index and as an image is malformed: other readers may choose the other
// reading.
func mediaTypeOf(m registry.Manifest) (types.MediaType, error) {
	var content struct {
		MediaType     types.MediaType `json:"mediaType"`
		SchemaVersion int             `json:"schemaVersion"`
		Manifests     json.RawMessage `json:"manifests"`
		Layers        json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(m.Raw, &content); err != nil {
		return "", fmt.Errorf("%w manifest: %w", imagefs.ErrMalformed, err)
	}
	if len(content.Manifests) > 0 && len(content.Layers) > 0 {
		return "", fmt.Errorf("%w manifest: it is an index and an image at once", imagefs.ErrMalformed)
	}
	declared := m.MediaType
	if !declared.IsIndex() && !declared.IsImage() && content.MediaType != "" {
		declared = content.MediaType
	}
	switch {
	case content.SchemaVersion == 1 && len(content.Layers) == 0 && len(content.Manifests) == 0:
		return types.DockerManifestSchema1, nil
	case declared.IsIndex(), declared.IsImage(), content.MediaType != "":
		return declared, nil
	case len(content.Manifests) > 0:
		return types.OCIImageIndex, nil
	case len(content.Layers) > 0:
		return types.OCIManifestSchema1, nil
	}
	return declared, nil
}

func parseManifest(m registry.Manifest) (*v1.Manifest, error) {
	manifest, err := v1.ParseManifest(bytes.NewReader(m.Raw))
	if err != nil {
		return nil, fmt.Errorf("%w manifest: %w", imagefs.ErrMalformed, err)
	}
	return manifest, nil
}

// readConfig reads and verifies an image's configuration.
func readConfig(ctx context.Context, from source, manifest *v1.Manifest) (*v1.ConfigFile, error) {
	d := manifest.Config
	if d.Size < 0 || d.Size > maxConfigBytes {
		return nil, fmt.Errorf("image configuration: %w: the blob has %d bytes, the limit is %d", imagefs.ErrTooLarge, d.Size, maxConfigBytes)
	}
	raw, err := readVerified(ctx, from, d.Digest, d.Size)
	if err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	config := &v1.ConfigFile{}
	if err := json.Unmarshal(raw, config); err != nil {
		return nil, fmt.Errorf("image configuration: %w: %w", imagefs.ErrMalformed, err)
	}
	return config, nil
}

// readVerified reads a blob of at most limit bytes and verifies its digest.
func readVerified(ctx context.Context, from source, digest v1.Hash, limit int64) ([]byte, error) {
	stored, err := from.Blob(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer stored.Close()
	content, err := io.ReadAll(io.LimitReader(stored, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(content)) > limit:
		return nil, fmt.Errorf("%w: more than %d bytes came", imagefs.ErrTooLarge, limit)
	}
	if sum, _, err := v1.SHA256(bytes.NewReader(content)); err != nil || sum != digest {
		return nil, fmt.Errorf("%w: its content has the digest %s", imagefs.ErrMalformed, sum)
	}
	return content, nil
}

// blobsOf returns the layers of an image, the lowest first. A layer is read
// through its table of contents unless all binaries are wanted: any file may be
// one.
func (s *Scanner) blobsOf(image resolution, allBinaries bool) []layers.Blob {
	session, remote := image.source.(*registry.Session)
	var blobs []layers.Blob
	for _, d := range image.manifest.Layers {
		open := func(ctx context.Context) (io.ReadCloser, error) { return image.source.Blob(ctx, d.Digest) }
		b := layers.Blob{Digest: d.Digest, Size: d.Size, AllBinaries: allBinaries, Open: open}
		if !d.MediaType.IsDistributable() {
			b.Gap = "a foreign layer, which the registry does not hold"
		}
		toc := layers.ParseTOC(d)
		if s.options.TOC && remote && toc != (layers.TOC{}) && d.Size >= s.options.Limits.TOCFrom && b.Gap == "" && !allBinaries {
			b.TOC = toc
			b.Range = func(ctx context.Context, start, end int64) (io.ReadCloser, error) {
				return session.BlobRange(ctx, d, start, end)
			}
		}
		blobs = append(blobs, b)
	}
	return blobs
}
