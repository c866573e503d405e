package imagefs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/capvet/capvet/internal/inflate"
)

// Unpack returns the tar stream of a layer compressed with gzip or zstd, or not
// compressed. Its first bytes decide, not its media type. Read errors wrap
// ErrMalformed, ErrTooLarge or ErrSource. Close frees memory; it does not close
// packed.
//
// reserve reserves the memory of a zstd window, limits.WindowBytes; Close calls
// release. reserve may be nil.
func Unpack(packed io.Reader, limits Limits, reserve func(bytes int64) (release func(), err error)) (io.ReadCloser, error) {
	limits = limits.WithDefaults()
	count := &counter{r: packed}
	buffered := bufio.NewReaderSize(count, 64<<10)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	u := &unpacked{packed: count, limits: limits, r: buffered, close: func() {}}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		u.r = inflate.NewReader(buffered)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		release := func() {}
		if reserve != nil {
			if release, err = reserve(limits.WindowBytes); err != nil {
				return nil, err
			}
		}
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(limits.WindowBytes)),
			zstd.WithDecoderLowmem(true))
		if err != nil {
			release()
			return nil, fmt.Errorf("%w zstd stream: %w", ErrMalformed, err)
		}
		u.r, u.close = z, func() {
			z.Close()
			release()
		}
	}
	return u, nil
}

type counter struct {
	r   io.Reader
	n   int64
	err error // of r, except io.EOF: a decompressor may replace it
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = fmt.Errorf("%w: %w", ErrSource, err)
		err = c.err
	}
	return n, err
}

// unpacked bounds the uncompressed size, absolutely and by its ratio to the
// compressed size.
type unpacked struct {
	packed *counter
	r      io.Reader
	n      int64
	limits Limits
	close  func()
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.n += int64(n)
	switch {
	case u.n > u.limits.UnpackedBytes:
		return n, fmt.Errorf("%w: the layer unpacks to more than %d bytes", ErrTooLarge, u.limits.UnpackedBytes)
	case u.n > RatioFrom && u.n/u.limits.Ratio > u.packed.n:
		return n, fmt.Errorf("%w: the layer unpacks to more than %d times its size", ErrTooLarge, u.limits.Ratio)
	case err != nil && err != io.EOF && u.packed.err != nil:
		return n, u.packed.err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return n, fmt.Errorf("%w: the layer asks for a zstd window of more than %d bytes", ErrTooLarge, u.limits.WindowBytes)
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return n, err
}

func (u *unpacked) Close() error {
	u.close()
	return nil
}
