package imagescan

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
)

// source is where an image's manifests and blobs are kept. It outlives the
// request that it was made for: every call brings its own context.
type source interface {
	// manifest returns a manifest whose digest was verified.
	manifest(ctx context.Context, digest v1.Hash) (document, error)
	// blob opens a blob that nobody has verified.
	blob(ctx context.Context, digest v1.Hash) (io.ReadCloser, error)
}

// document is a manifest or an index, as bytes that have the digest.
type document struct {
	raw       []byte
	digest    v1.Hash
	mediaType types.MediaType // as the document's keeper says; empty if it does not
}

// Bounds of documents, in bytes.
const (
	// maxManifestBytes is twice what registries have to accept (OCI
	// distribution specification, "Pushing Manifests").
	maxManifestBytes = 8 << 20
	maxConfigBytes   = 8 << 20
)

// kind returns the document's media type. What its keeper says goes before what
// it says of itself; something that could be read as both an index and an image
// is neither: others may read it the other way.
func (d document) kind() (types.MediaType, error) {
	var content struct {
		MediaType     types.MediaType `json:"mediaType"`
		SchemaVersion int             `json:"schemaVersion"`
		Manifests     json.RawMessage `json:"manifests"`
		Layers        json.RawMessage `json:"layers"`
	}
	if err := json.Unmarshal(d.raw, &content); err != nil {
		return "", fmt.Errorf("%w manifest: %w", imagefs.ErrMalformed, err)
	}
	if len(content.Manifests) > 0 && len(content.Layers) > 0 {
		return "", fmt.Errorf("%w manifest: it is an index and an image at once", imagefs.ErrMalformed)
	}
	kind := d.mediaType
	if !kind.IsIndex() && !kind.IsImage() && content.MediaType != "" {
		kind = content.MediaType
	}
	switch {
	case content.SchemaVersion == 1 && len(content.Layers) == 0 && len(content.Manifests) == 0:
		return types.DockerManifestSchema1, nil
	case kind.IsIndex(), kind.IsImage():
		return kind, nil
	case content.MediaType != "":
		return content.MediaType, nil
	case len(content.Manifests) > 0:
		return types.OCIImageIndex, nil
	case len(content.Layers) > 0:
		return types.OCIManifestSchema1, nil
	}
	return kind, nil
}

// readSmall reads a blob that has to be small, and verifies it.
func readSmall(ctx context.Context, from source, d v1.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > maxConfigBytes {
		return nil, fmt.Errorf("%w: the blob has %d bytes, the limit is %d", imagefs.ErrTooLarge, d.Size, maxConfigBytes)
	}
	stored, err := from.blob(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	content, err := readAll(ctx, stored, d.Size)
	if err != nil {
		return nil, err
	}
	if sum, err := digestOf(content); err != nil || sum != d.Digest {
		return nil, fmt.Errorf("%w: its content has the digest %s", imagefs.ErrMalformed, sum)
	}
	return content, nil
}

// readAll reads at most limit bytes and closes.
func readAll(ctx context.Context, stored io.ReadCloser, limit int64) ([]byte, error) {
	stop := closeWith(ctx, stored)
	defer stop()
	content, err := io.ReadAll(io.LimitReader(stored, limit+1))
	switch {
	case err != nil:
		return nil, orContext(ctx, err)
	case int64(len(content)) > limit:
		return nil, fmt.Errorf("%w: more than %d bytes came", imagefs.ErrTooLarge, limit)
	}
	return content, nil
}

// closeWith closes when ctx ends, which is what wakes a read that hangs, or
// when the returned function is called.
func closeWith(ctx context.Context, c io.Closer) func() {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() {
		if stop() {
			_ = c.Close()
		}
	}
}

// orContext returns why the context ended, if it did: a read that it broke off
// fails with something that says less.
func orContext(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
