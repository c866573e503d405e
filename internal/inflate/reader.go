package inflate

import (
	"errors"
	"hash/crc32"
	"io"
)

// ErrCorrupt says that a stream is not what RFC 1951 and RFC 1952 ask for.
var ErrCorrupt = errors.New("corrupt gzip stream")

const (
	packedBytes = 64 << 10
	history     = 32 << 10 // no match lies farther back (RFC 1951, 2)
	windowBytes = history + 160<<10
)

// Reader unpacks a gzip stream of any number of members. It reads ahead of what
// it returns. It is not for use by several goroutines at a time.
type Reader struct {
	input   input
	step    step
	final   bool // the block is its member's last
	stored  uint // bytes left of a stored block
	fixed   bool // the tables are those of the fixed codes
	symbols alphabets

	sum, size uint32 // of what the member has unpacked to

	// window[:written] is what was unpacked last, window[:read] was returned.
	read, written uint
	err           error // what comes behind it

	literals  [literalEntries]uint32
	distances [distanceEntries]uint32
	window    [windowBytes]byte
}

// step is what comes next in the stream.
type step uint8

const (
	inHeader step = iota
	inBlockHeader
	inStored
	inCodes
	inTrailer
)

// NewReader returns a Reader. Nothing is read yet.
func NewReader(source io.Reader) *Reader {
	return &Reader{input: input{source: source}, symbols: newAlphabets()}
}

// Read implements io.Reader. Its errors are ErrCorrupt, io.ErrUnexpectedEOF for
// a stream that is cut short, or the source's own.
func (z *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for z.read == z.written {
		if z.err != nil {
			return 0, z.err
		}
		z.err = z.unpack()
	}
	n := copy(p, z.window[z.read:z.written])
	z.read += uint(n)
	return n, nil
}

// unpack fills the window, of which all was returned, as far as the stream goes.
func (z *Reader) unpack() error {
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
