package inflate

import (
	"errors"
	"hash/crc32"
	"io"
)

// ErrCorrupt reports a stream that violates RFC 1951 or RFC 1952.
var ErrCorrupt = errors.New("corrupt gzip stream")

const (
	packedBytes = 64 << 10
	history     = 32 << 10 // the largest distance of a match (RFC 1951, 2)
	windowBytes = history + 160<<10
)

// Reader decompresses a gzip stream of any number of members. It reads its source
// ahead. It is not safe for concurrent use.
type Reader struct {
	input   input
	step    step
	final   bool // the block is the last of its member
	stored  uint // remaining bytes of a stored block
	fixed   bool // the tables hold the fixed codes
	symbols alphabets

	sum, size uint32 // checksum and size of the member, uncompressed

	// window[:written] is the latest output, of which window[:read] was returned.
	read, written uint
	err           error // after the output

	literals  [literalEntries]uint32
	distances [distanceEntries]uint32
	window    [windowBytes]byte
}

// step is the position in the format.
type step uint8

const (
	inHeader step = iota
	inBlockHeader
	inStored
	inCodes
	inTrailer
)

// NewReader returns a Reader. It does not read source yet.
func NewReader(source io.Reader) *Reader {
	return &Reader{input: input{source: source}, symbols: newAlphabets()}
}

// Read implements io.Reader. Its errors are ErrCorrupt, io.ErrUnexpectedEOF for
// a truncated stream, or those of the source.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for z.read == z.written {
		if z.err != nil {
			return 0, z.err
		}
		z.err = z.fill()
	}
	n := copy(p, z.window[z.read:z.written])
	z.read += uint(n)
	return n, nil
}

// fill refills the window, whose output was all returned.
func (z *Reader) fill() error {
	if z.written > history {
		z.written = uint(copy(z.window[:], z.window[z.written-history:z.written]))
	}
	z.read = z.written
	for z.written < windowBytes-spare {
		var err error
		from := z.written
		switch z.step {
		case inHeader:
			err = z.header()
		case inBlockHeader:
			err = z.blockHeader()
		case inStored:
			err = z.copyStored()
		case inCodes:
			err = z.decode()
		case inTrailer:
			err = z.trailer()
		}
		z.sum = crc32.Update(z.sum, crc32.IEEETable, z.window[from:z.written])
		z.size += uint32(z.written - from)
		if err != nil {
			return err
		}
	}
	return nil
}
