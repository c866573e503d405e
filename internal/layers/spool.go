package layers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
)

// spoolBytes is the largest file that is spooled in memory, in bytes; larger
// ones go to a temporary file.
const spoolBytes = 32 << 20

// spooledFile is a copy of a file of a layer, in memory or on disk.
type spooledFile struct {
	io.ReaderAt
	size    int64
	release func() // frees the copy and its memory budget
}

// spool copies a file out of its layer.
func (r *Reader) spool(ctx context.Context, name string, size int64, content io.Reader) (_ *spooledFile, err error) {
	release, err := r.FileBudget.Acquire(ctx, min(size, spoolBytes))
	if err != nil {
		return nil, err
	}
	f := &spooledFile{size: size, release: release}
	defer func() {
		if err != nil {
			f.release()
		}
	}()
	if size <= spoolBytes {
		buffer := make([]byte, size) // a bytes.Buffer would grow to twice that
		if _, err := io.ReadFull(content, buffer); err != nil {
			return nil, err
		}
		f.ReaderAt = bytes.NewReader(buffer)
		return f, nil
	}
	file, err := os.CreateTemp("", "capvet-")
	if err != nil {
		return nil, fmt.Errorf("a temporary file for %s: %w", name, err)
	}
	f.ReaderAt, f.release = file, func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
		release()
	}
	_, err = io.Copy(file, content)
	return f, err
}
