package registry

import (
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// CorruptBlob flips one bit in the middle of a stored blob, so that the served
// content no longer matches its digest. A registry refuses to be pushed such a
// blob, but a broken disk or a hostile registry can serve one.
func (r *Registry) CorruptBlob(digest v1.Hash) error {
	path := r.blob(digest)
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("corrupting %s: %w", digest, err)
	}
	if len(content) == 0 {
		return fmt.Errorf("corrupting %s: the blob is empty", digest)
	}
	content[len(content)/2] ^= 1
	return os.WriteFile(path, content, 0o600)
}

// RemoveBlob removes a stored blob, so that an image refers to a missing one.
func (r *Registry) RemoveBlob(digest v1.Hash) error {
	if err := os.RemoveAll(filepath.Dir(r.blob(digest))); err != nil {
		return fmt.Errorf("removing %s: %w", digest, err)
	}
	return nil
}

// blob is where the registry's file-system driver keeps a blob.
func (r *Registry) blob(digest v1.Hash) string {
	return filepath.Join(storage(r.dir), "docker", "registry", "v2", "blobs", digest.Algorithm, digest.Hex[:2], digest.Hex, "data")
}
