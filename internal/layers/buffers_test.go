package layers

import (
	"bytes"
	"io"
	"sync"
	"testing"
)

// TestBuffersAreUsedAgain: the chunks of one reading serve the next, and each once.
func TestBuffersAreUsedAgain(t *testing.T) {
	made := 0
	pool := &sync.Pool{New: func() any {
		made++
		return new([readaheadBytes]byte)
	}}
	for range 3 {
		r := newReadahead(bytes.NewReader(make([]byte, 20*readaheadBytes)), pool)
		if n, err := io.Copy(io.Discard, r); n != 20*readaheadBytes || err != nil {
			t.Fatal(n, err)
		}
		_ = r.Close()
		r.recycle()
	}
	seen := map[any]bool{}
	for range made {
		chunk := pool.Get()
		if seen[chunk] {
			t.Fatal("a chunk was returned twice")
		}
		seen[chunk] = true
	}
}

// TestFileBuffers: a file's memory is no larger than twice the file.
func TestFileBuffers(t *testing.T) {
	r := &Reader{}
	large := r.buffer(8 << 20)
	r.files.Put(&large)
	for _, size := range []int64{0, 1, sharedFrom - 1, sharedFrom, 2 << 20, 8 << 20} {
		if b := r.buffer(size); int64(len(b)) != size || int64(cap(b)) > 2*size {
			t.Errorf("%d bytes: length %d, capacity %d", size, len(b), cap(b))
		}
	}
}
