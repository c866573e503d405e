package inflate

import "io"

// input is the packed stream, in bits and in bytes.
type input struct {
	source io.Reader
	over   bool  // the source has ended
	err    error // of the next fill

	// bits holds count bits of the stream, the next one lowest; those that follow
	// are in packed[at:end].
	bits    uint64
	count   uint
	at, end uint
	packed  [packedBytes]byte
}

// maxEmptyReads is how often in a row a source may return nothing.
const maxEmptyReads = 100

// fill reads more of the stream, once packed is used up. Whoever needs more of a
// source that has ended gets io.ErrUnexpectedEOF.
func (in *input) fill() error {
	for range maxEmptyReads {
		if in.err != nil {
			return in.err
		}
		n, err := in.source.Read(in.packed[:])
		if err == io.EOF {
			in.over, err = true, io.ErrUnexpectedEOF
		}
		in.at, in.end, in.err = 0, uint(n), err
		if n > 0 {
			return nil
		}
	}
	return io.ErrNoProgress
}

// need has at least so many bits, of at most 56, in in.bits.
func (in *input) need(n uint) error {
	for in.count < n {
		if in.at == in.end {
			if err := in.fill(); err != nil {
				return err
			}
		}
		in.bits |= uint64(in.packed[in.at]) << in.count
		in.at++
		in.count += 8
	}
	return nil
}

// take returns the next bits, of at most 16.
func (in *input) take(n uint) (uint, error) {
	if err := in.need(n); err != nil {
		return 0, err
	}
	v := uint(in.bits & (1<<n - 1))
	in.drop(n)
	return v, nil
}

func (in *input) drop(n uint) {
	in.bits >>= n
	in.count -= n
}

// align drops what is left of a byte of which some bits were used.
func (in *input) align() { in.drop(in.count & 7) }

// Read implements io.Reader, once aligned, but for how a stream ends.
func (in *input) Read(p []byte) (n int, err error) {
	for ; n < len(p) && in.count > 0; n++ {
		p[n] = byte(in.bits)
		in.drop(8)
	}
	if n == 0 && in.at == in.end {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	copied := copy(p[n:], in.packed[in.at:in.end])
	in.at += uint(copied)
	return n + copied, nil
}

// ended reports whether nothing follows, once aligned.
func (in *input) ended() (bool, error) {
	if in.count > 0 || in.at < in.end {
		return false, nil
	}
	if err := in.fill(); err != nil && !in.over {
		return false, err
	}
	return in.at == in.end, nil
}
