package inflate

import "io"

// input reads the compressed stream, as bits or bytes.
type input struct {
	source io.Reader
	over   bool  // the source has ended
	err    error // of the next fill

	// bits holds the next count bits, the first one lowest; packed[at:end] follows.
	bits    uint64
	count   uint
	at, end uint
	packed  [packedBytes]byte
}

// maxEmptyReads bounds consecutive reads of a source without data.
const maxEmptyReads = 100

// fill refills packed, once it is used up. At the end of the source it returns
// io.ErrUnexpectedEOF.
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

// need loads bits until there are at least n, at most 56.
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

// take returns the next n bits, at most 16.
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

// align drops the rest of a partly used byte.
func (in *input) align() { in.drop(in.count & 7) }

// Read implements io.Reader, except that a stream ends with io.ErrUnexpectedEOF.
// The input must be aligned.
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

// more returns io.EOF at the end of the stream. The input must be aligned.
func (in *input) more() error {
	if in.count > 0 || in.at < in.end {
		return nil
	}
	err := in.fill()
	if err != nil && in.over {
		return io.EOF
	}
	return err
}
