package layers

import (
	"bytes"
	"context"
	"errors"
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

// sharedFrom is the size, in bytes, from which the memory of one file is used
// again for another.
const sharedFrom = 1 << 20

// buffer returns memory for a file of size bytes, of at most twice its size.
func (r *Reader) buffer(size int64) []byte {
	if size >= sharedFrom {
		if b, ok := r.files.Get().(*[]byte); ok && int64(cap(*b)) >= size && int64(cap(*b)) <= 2*size {
			return (*b)[:size]
		}
	}
	if size >= sharedFrom { // the next file has about the same size
		return make([]byte, size, size+size/16)
	}
	return make([]byte, size)
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
		buffer := r.buffer(size)
		f.release = func() {
			if size >= sharedFrom {
				r.files.Put(&buffer)
			}
			release()
		}
		if _, err := io.ReadFull(content, buffer); err != nil {
			return nil, err
		}
		f.ReaderAt = bytes.NewReader(buffer)
		return f, nil
	}
	create := r.createTemp
	if create == nil {
		create = func() (*os.File, error) { return os.CreateTemp("", "capvet-") }
	}
	file, err := create()
	if err != nil {
		return nil, spoolError(name, err)
	}
	// Without a name the file goes with the process, even if that is killed. Some
	// systems keep the name of an open file.
	unlinked := os.Remove(file.Name()) == nil
	f.ReaderAt, f.release = file, func() {
		_ = file.Close()
		if !unlinked {
			_ = os.Remove(file.Name())
		}
		release()
	}
	_, err = io.Copy(spoolWriter{file, name}, content)
	return f, err
}

// ErrSpool reports a failure of the disk that temporary files are on.
var ErrSpool = errors.New("no temporary file")

func spoolError(name string, err error) error {
	return fmt.Errorf("%w for %s in the folder %s: %w; give the folder space, or set TMPDIR to one that capvet can write to",
		ErrSpool, name, os.TempDir(), err)
}

// spoolWriter tells the errors of the disk from those of the layer.
type spoolWriter struct {
	file *os.File
	name string // of the file in the layer
}

func (w spoolWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		err = spoolError(w.name, err)
	}
	return n, err
}
