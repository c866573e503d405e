package imagefs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// TOCFile is a selected regular file of a layer's table of contents.
type TOCFile struct {
	At Source
	Attributes
	// Start and End, exclusive, are the range of the compressed layer with the
	// content, in bytes; both 0 for an empty file.
	Start, End int64

	inner  int64 // offset of the content in the uncompressed range
	digest []byte
	chunks []tocChunk
}

// tocChunk is a piece of a file's content.
type tocChunk struct {
	offset, size int64 // in the file; size 0 means up to the next chunk or the end
	digest       []byte
}

// Content returns the file's content, given the compressed bytes from Start to
// End. The last byte of each chunk is returned only after its digest was
// verified, the last byte of the file after the file's. reserve is as for Unpack.
func (f TOCFile) Content(packed io.Reader, limits Limits, reserve func(bytes int64) (release func(), err error)) (io.ReadCloser, error) {
	unpacked, err := Unpack(packed, limits, reserve)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, unpacked, f.inner); err != nil {
		_ = unpacked.Close()
		return nil, short(err, f.At.Path)
	}
	return &tocContent{ReadCloser: unpacked, file: f, whole: sha256.New(), part: sha256.New()}, nil
}

// tocContent verifies a file as it is read.
type tocContent struct {
	io.ReadCloser
	file        TOCFile
	whole, part hash.Hash
	chunk       int   // index of the current one
	read        int64 // bytes of it
}

func (c *tocContent) Read(p []byte) (int, error) {
	if c.chunk == len(c.file.chunks) {
		return 0, io.EOF
	}
	chunk := c.file.chunks[c.chunk]
	p = p[:min(int64(len(p)), chunk.size-c.read)]
	n, err := c.ReadCloser.Read(p)
	c.whole.Write(p[:n])
	c.part.Write(p[:n])
	c.read += int64(n)
	if c.read < chunk.size {
		return n, short(err, c.file.At.Path)
	}
	if chunk.digest != nil && !bytes.Equal(c.part.Sum(nil), chunk.digest) {
		return 0, fmt.Errorf("%w: chunk %d of %s does not have the digest that the table of contents says", ErrMalformed, c.chunk, c.file.At.Path)
	}
	c.part.Reset()
	c.chunk, c.read = c.chunk+1, 0
	if c.chunk == len(c.file.chunks) && c.file.digest != nil && !bytes.Equal(c.whole.Sum(nil), c.file.digest) {
		return 0, fmt.Errorf("%w: %s does not have the digest that the table of contents says", ErrMalformed, c.file.At.Path)
	}
	return n, nil
}

// short turns an early end of a file into ErrMalformed.
func short(err error, name string) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the content of %s is shorter than the table of contents says", ErrMalformed, name)
	}
	return err
}
