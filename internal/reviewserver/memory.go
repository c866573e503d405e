package reviewserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// maxReviewBytes bounds a review: two objects of at most 3 MiB each, and the
	// rest of the request.
	maxReviewBytes = 7 << 20
	// reviewStep is the part of a review that needs no memory from the budget of all
	// reviews: it is more than most reviews are, and bounded by the connections.
	reviewStep = 32 << 10
	// ballastBytes is the size of a heap ballast: an allocation that is never
	// touched, so it takes no memory, but counts as live. Go starts a collection
	// when the garbage equals the live heap. capvet's live heap is a few MiB, so
	// under load there were twenty collections per second, a fifth of the
	// processor time of a review. With the ballast, 40 MiB more garbage may wait.
	ballastBytes = 40 << 20
)

var errBusy = errors.New("too many large reviews at a time; see --max-review-memory")

// buffers holds buffers for a review and then its answer. Without the pool they
// would be a quarter of the garbage of a review.
var buffers = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// recycle returns a buffer to the pool, unless it is much larger than a typical review.
func recycle(buffer *bytes.Buffer) {
	if buffer.Cap() <= 2*reviewStep {
		buffer.Reset()
		buffers.Put(buffer)
	}
}

// readBody reads a body into buffer. Beyond reviewStep it first waits for memory, until
// ctx ends, for all of the rest: if reviews waited with a part of theirs, they could wait
// for each other. A client that announces a large review and sends little takes nothing.
// The caller calls release when it no longer needs the buffer.
func (s *Server) readBody(ctx context.Context, w http.ResponseWriter, r *http.Request, buffer *bytes.Buffer) (release func(), err error) {
	body := http.MaxBytesReader(w, r.Body, maxReviewBytes)
	buffer.Grow(bytes.MinRead + int(min(max(r.ContentLength, 0), reviewStep)))
	if _, err := buffer.ReadFrom(io.LimitReader(body, reviewStep)); err != nil || buffer.Len() < reviewStep {
		return func() {}, err
	}
	if r.ContentLength > maxReviewBytes {
		return func() {}, &http.MaxBytesError{Limit: maxReviewBytes} // its head is in the buffer
	}
	rest := r.ContentLength - reviewStep
	if r.ContentLength < 0 {
		rest = maxReviewBytes - reviewStep
	}
	if err := s.memory.Acquire(ctx, rest); err != nil {
		return func() {}, errBusy
	}
	release = func() { s.memory.Release(rest) }
	if rest > 0 {
		// The wait was not the client's.
		err = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.options.ReviewTime))
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return release, err
		}
		buffer.Grow(bytes.MinRead + int(max(r.ContentLength-reviewStep, 0)))
	}
	_, err = buffer.ReadFrom(body)
	return release, err
}
