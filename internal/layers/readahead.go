package layers

import (
	"errors"
	"io"
	"runtime"
	"sync"
)

// readahead reads its source in a goroutine, a few chunks ahead of its own
// reader, so that the steps of reading a layer run concurrently.
type readahead struct {
	full, free chan []byte
	err        error // of the source; set before full is closed
	rest       []byte
	current    []byte
	position   int64 // of the next byte read
	stop       chan struct{}
	once       sync.Once
	ended      chan struct{}
	chunks     *sync.Pool // of *[readaheadBytes]byte
}

const (
	// readaheadChunks is the number of chunks of one reader.
	readaheadChunks = 4
	// readaheadBytes is the size of a chunk, in bytes.
	readaheadBytes = 64 << 10
)

// newReadahead starts reading into chunks of the pool. The caller must call Close,
// which waits for a pending Read of the source: interrupt that Read first.
func newReadahead(source io.Reader, chunks *sync.Pool) *readahead {
	r := &readahead{
		chunks: chunks,
		full:   make(chan []byte, readaheadChunks), free: make(chan []byte, readaheadChunks),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	for range readaheadChunks {
		r.free <- nil // allocated on first use: most layers are small
	}
	go r.run(source)
	return r
}

func (r *readahead) run(source io.Reader) {
	defer close(r.ended)
	defer close(r.full)
	defer recoverAs(&r.err, ErrPanic) // of a decompressor, over hostile bytes
	for {
		var chunk []byte
		select {
		case chunk = <-r.free:
		case <-r.stop:
			r.err = io.ErrClosedPipe
			return
		}
		if chunk == nil {
			chunk = r.chunk()
		}
		n, err := fill(source, chunk[:cap(chunk)])
		if n > 0 {
			r.full <- chunk[:n] // never blocks: there are no more chunks than slots
			// Admission requests and their connections go first: they have
			// deadlines. Without this, a scan yields only every 10 ms.
			runtime.Gosched()
		}
		if err != nil {
			r.err = err
			return
		}
	}
}

func (r *readahead) chunk() []byte {
	if chunk, ok := r.chunks.Get().(*[readaheadBytes]byte); ok {
		return chunk[:]
	}
	return make([]byte, readaheadBytes)
}

// fill reads until the chunk is half full: a source of small pieces should not
// cost a hand-over for each.
func fill(source io.Reader, chunk []byte) (n int, err error) {
	for n < len(chunk)/2 && err == nil {
		var read int
		read, err = source.Read(chunk[n:])
		n += read
	}
	return n, err
}

func (r *readahead) Read(p []byte) (int, error) {
	if err := r.next(); err != nil {
		return 0, err
	}
	n := copy(p, r.rest)
	r.advance(n)
	return n, nil
}

// Seek skips bytes, which saves archive/tar from copying files that it passes
// over. It moves forward only, and stops at the end of the source.
func (r *readahead) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return r.position, errors.ErrUnsupported
	}
	for end := r.position + offset; r.position < end; {
		if err := r.next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return r.position, err
		}
		r.advance(int(min(end-r.position, int64(len(r.rest)))))
	}
	return r.position, nil
}

// next waits until rest holds at least one byte.
func (r *readahead) next() error {
	if len(r.rest) > 0 {
		return nil
	}
	if r.current != nil {
		r.free <- r.current
		r.current = nil
	}
	chunk, ok := <-r.full
	if !ok {
		return r.err
	}
	r.current, r.rest = chunk, chunk
	return nil
}

func (r *readahead) advance(n int) {
	r.rest = r.rest[n:]
	r.position += int64(n)
}

// Close stops reading. It does not close the source.
func (r *readahead) Close() error {
	r.once.Do(func() { close(r.stop) })
	<-r.ended
	return nil
}

// recycle returns the chunks to their pool. It follows Close and the last Read.
func (r *readahead) recycle() {
	put := func(chunk []byte) {
		if chunk != nil {
			r.chunks.Put((*[readaheadBytes]byte)(chunk[:readaheadBytes]))
		}
	}
	put(r.current)
	r.current, r.rest = nil, nil
	for chunk := range r.full { // closed
		put(chunk)
	}
	for len(r.free) > 0 {
		put(<-r.free)
	}
}
