package imagescan

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// ahead reads in a goroutine of its own, a few chunks ahead of who reads from
// it, so that the steps of reading a layer run beside each other.
type ahead struct {
	full, free chan []byte
	err        error // of the source; set before full is closed
	rest       []byte
	current    []byte
	position   int64 // in bytes, of what is read next
	stop       chan struct{}
	once       sync.Once
	ended      chan struct{}
}

const (
	// aheadChunks is how many chunks one reader may hold.
	aheadChunks = 4
	// aheadBytes is the size of each, in bytes.
	aheadBytes = 128 << 10
)

// newAhead starts to read. Close has to be called, and waits until the source is
// left alone: whatever its Read may be waiting for has to be ended before.
func newAhead(source io.Reader) *ahead {
	a := &ahead{
		full: make(chan []byte, aheadChunks), free: make(chan []byte, aheadChunks),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	for range aheadChunks {
		a.free <- nil // made when it is needed: most layers are small
	}
	go a.run(source)
	return a
}

func (a *ahead) run(source io.Reader) {
	defer close(a.ended)
	defer close(a.full)
	defer func() {
		if p := recover(); p != nil { // a decompressor's, over hostile bytes
			a.err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	for {
		var chunk []byte
		select {
		case chunk = <-a.free:
		case <-a.stop:
			a.err = io.ErrClosedPipe
			return
		}
		if chunk == nil {
			chunk = make([]byte, aheadBytes)
		}
		n, err := fill(source, chunk[:cap(chunk)])
		if n > 0 {
			a.full <- chunk[:n] // never waits: there are no more chunks than room
			// Requests go first, and the connections that they come on: they have
			// deadlines, a scan has none. Left alone, it gives way every 10 ms.
			runtime.Gosched()
		}
		if err != nil {
			a.err = err
			return
		}
	}
}

// fill reads until half of the chunk is full: a source that comes in small pieces
// is not to cost a hand-over for each.
func fill(source io.Reader, chunk []byte) (n int, err error) {
	for n < len(chunk)/2 && err == nil {
		var read int
		read, err = source.Read(chunk[n:])
		n += read
	}
	return n, err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	if err := a.next(); err != nil {
		return 0, err
	}
	n := copy(p, a.rest)
	a.pass(n)
	return n, nil
}

// Seek skips bytes, by which archive/tar spares itself copying what it passes
// over. It goes forward only, and where the source ends it stops there.
func (a *ahead) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return a.position, errors.ErrUnsupported
	}
	for end := a.position + offset; a.position < end; {
		if err := a.next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return a.position, err
		}
		a.pass(int(min(end-a.position, int64(len(a.rest)))))
	}
	return a.position, nil
}

// next has at least a byte in rest.
func (a *ahead) next() error {
	if len(a.rest) > 0 {
		return nil
	}
	if a.current != nil {
		a.free <- a.current
		a.current = nil
	}
	chunk, ok := <-a.full
	if !ok {
		return a.err
	}
	a.current, a.rest = chunk, chunk
	return nil
}

func (a *ahead) pass(n int) {
	a.rest = a.rest[n:]
	a.position += int64(n)
}

// Close ends the reading. The source is not closed.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	<-a.ended
	return nil
}
