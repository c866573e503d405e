package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// Reserve reserves memory, in bytes, and waits until there is some or ctx ends.
// release returns it.
type Reserve func(ctx context.Context, n int64) (release func(), err error)

// unreservedBytes is the size, in bytes, up to which a document needs no
// reservation: nearly all manifests and configurations have a few kilobytes.
const unreservedBytes = 64 << 10

// ReadDocument reads a document of at most limit bytes. Memory for a large one is
// reserved before its second part is read: for size bytes if that is its size, else
// (size is negative) for the most that the growing copy takes. The caller calls
// release once it has no more use for the document.
func ReadDocument(ctx context.Context, r io.Reader, size, limit int64, reserve Reserve) (_ []byte, release func(), err error) {
	tooLarge := fmt.Errorf("%w: it has more than %d bytes", ErrTooLarge, limit)
	if size > limit {
		return nil, nil, tooLarge
	}
	var content bytes.Buffer
	read := func(limit int64) error {
		_, err := content.ReadFrom(io.LimitReader(r, limit-int64(content.Len())))
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	release = func() {}
	if err := read(min(limit, unreservedBytes) + 1); err != nil {
		return nil, nil, err
	}
	if int64(content.Len()) > min(limit, unreservedBytes) && limit > unreservedBytes {
		need := size
		if size < 0 {
			need = 2 * limit
		}
		if release, err = reserve(ctx, need); err != nil {
			return nil, nil, err
		}
		if size > int64(content.Len()) {
			content.Grow(int(size) - content.Len() + bytes.MinRead)
		}
		if err := read(limit + 1); err != nil {
			release()
			return nil, nil, err
		}
	}
	if int64(content.Len()) > limit {
		release()
		return nil, nil, tooLarge
	}
	return content.Bytes(), release, nil
}
