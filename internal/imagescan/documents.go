package imagescan

import (
	"bytes"
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/registry"
)

// source holds an image's manifests and blobs: a *registry.Session or a layout
// on disk.
type source interface {
	// Manifest returns the manifest or index under a tag or digest. The content
	// under a digest is verified. Memory for it is reserved until its Release.
	Manifest(ctx context.Context, identifier string, reserve registry.Reserve) (registry.Manifest, error)
	// Blob opens a blob. Its content is not verified. Reads end when ctx does.
	Blob(ctx context.Context, digest v1.Hash) (io.ReadCloser, error)
}

// documents reads manifests and configurations from a source. The memory of a
// large one counts towards a budget for the time of its decoding.
type documents struct {
	source    source
	reserve   registry.Reserve
	maxLayers int
	isHint    func(string) bool
}

func (s *Scanner) documentsOf(from source) documents {
	return documents{from, s.fileBudget.Acquire, s.options.Limits.Layers, s.options.Inspector.IsHint}
}

// manifest reads a manifest or an index. mediaType is the type that the index with
// it declares; empty for the source's own word.
func (d documents) manifest(ctx context.Context, identifier string, mediaType types.MediaType) (*manifest, error) {
	m, err := d.source.Manifest(ctx, identifier, d.reserve)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	if mediaType != "" {
		m.MediaType = mediaType
	}
	return parseManifest(m, d.maxLayers)
}

// configuration reads and verifies an image's configuration.
func (d documents) configuration(ctx context.Context, at descriptor) (*configuration, error) {
	if at.size < 0 || at.size > maxDocumentBytes {
		return nil, fmt.Errorf("image configuration: %w: the blob has %d bytes, the limit is %d", imagefs.ErrTooLarge, at.size, maxDocumentBytes)
	}
	raw, release, err := readVerified(ctx, d.source, at.digest, at.size, d.reserve)
	if err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	defer release()
	return parseConfiguration(raw, d.maxLayers, d.isHint)
}

// readVerified reads a blob of at most size bytes and verifies its digest. release
// returns its memory.
func readVerified(ctx context.Context, from source, digest v1.Hash, size int64, reserve registry.Reserve) (_ []byte, release func(),
	_ error) {
	stored, err := from.Blob(ctx, digest)
	if err != nil {
		return nil, nil, err
	}
	defer stored.Close()
	content, release, err := registry.ReadDocument(ctx, stored, size, size, reserve)
	if err != nil {
		return nil, nil, err
	}
	if sum, _, err := v1.SHA256(bytes.NewReader(content)); err != nil || sum != digest {
		release()
		return nil, nil, fmt.Errorf("%w: its content has the digest %s", imagefs.ErrMalformed, sum)
	}
	return content, release, nil
}
