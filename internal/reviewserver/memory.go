package reviewserver

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// maxReviewBytes bounds a review: two objects of at most 3 MiB each, and the
	// rest of the request.
	maxReviewBytes = 7 << 20
	// reviewStep is the unit in which memory is acquired while a review arrives.
	reviewStep = 32 << 10
	// ballastBytes is the size of a heap ballast: an allocation that is never
	// touched, so it takes no memory, but counts as live. Go starts a collection
	// when the garbage equals the live heap. capvet's live heap is a few MiB, so
	// under load there were twenty collections per second, a fifth of the
	// processor time of a review. With the ballast, 40 MiB more garbage may wait.
	ballastBytes = 40 << 20
)

var errBusy = errors.New("too many reviews at a time; see --max-review-memory")

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

// meteredReader acquires memory for the bytes that arrive, and not for the
// announced length: a client that announces much and sends little takes little.
type meteredReader struct {
	r              io.Reader
	memory         *semaphore.Weighted
	acquired, left int64
}

func (m *meteredReader) Read(p []byte) (int, error) {
	if m.left == 0 {
		if !m.memory.TryAcquire(reviewStep) {
			return 0, errBusy
		}
		m.acquired, m.left = m.acquired+reviewStep, reviewStep
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

func (m *meteredReader) release() { m.memory.Release(m.acquired) }
