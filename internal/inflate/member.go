package inflate

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Fields of a member's header (RFC 1952, 2.3).
const (
	identification = "\x1f\x8b\x08" // gzip, compressed with deflate

	hasHeaderSum = 1 << 1
	hasExtra     = 1 << 2
	hasName      = 1 << 3
	hasComment   = 1 << 4

	// maxText is the longest name or comment, in bytes including its NUL, as in
	// compress/gzip.
	maxText = 512
)

// header reads a member's header. It returns io.EOF at the end of the stream.
func (z *Reader) header() error {
	if err := z.input.more(); err != nil {
		return err
	}
	sum := crc32.NewIEEE()
	in := io.TeeReader(&z.input, sum)
	var b [10]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return err
	}
	if string(b[:3]) != identification {
		return ErrCorrupt
	}
	flags := b[3]
	if flags&hasExtra != 0 {
		if _, err := io.ReadFull(in, b[:2]); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, in, int64(binary.LittleEndian.Uint16(b[:]))); err != nil {
			return err
		}
	}
	for _, flag := range []byte{hasName, hasComment} {
		if flags&flag == 0 {
			continue
		}
		if err := skipText(in); err != nil {
			return err
		}
	}
	if flags&hasHeaderSum != 0 {
		want := uint16(sum.Sum32())
		if _, err := io.ReadFull(in, b[:2]); err != nil {
			return err
		}
		if binary.LittleEndian.Uint16(b[:]) != want {
			return ErrCorrupt
		}
	}
	z.step, z.sum, z.size = inBlockHeader, 0, 0
	return nil
}

// skipText skips a NUL-terminated text.
func skipText(in io.Reader) error {
	var b [1]byte
	for range maxText {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return err
		}
		if b[0] == 0 {
			return nil
		}
	}
	return ErrCorrupt
}

// trailer checks the member against the checksum and size in its trailer.
func (z *Reader) trailer() error {
	z.input.align()
	var b [8]byte
	if _, err := io.ReadFull(&z.input, b[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b[:4]) != z.sum || binary.LittleEndian.Uint32(b[4:]) != z.size {
		return ErrCorrupt
	}
	z.step = inHeader
	return nil
}
