package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// errStalled reports an answer that stood still, or nearly.
var errStalled = errors.New("the registry sends too slowly")

// pace is the minimum speed of an answer.
type pace struct {
	bytes int64         // at least
	every time.Duration // measured over
}

// paced enforces a pace on the body of every answer: layers, manifests, tokens,
// errors, and answers that are only discarded.
type paced struct {
	next http.RoundTripper
	pace pace
}

func (t paced) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err == nil {
		response.Body = &pacedBody{ReadCloser: response.Body, pace: t.pace}
	}
	return response, err
}

// pacedBody fails below its pace. Only time spent waiting for the registry counts:
// a slow reader is not the registry's fault.
type pacedBody struct {
	io.ReadCloser
	pace    pace
	waiting time.Duration
	arrived int64 // bytes, in waiting
}

func (b *pacedBody) Read(p []byte) (int, error) {
	stalled := make(chan struct{})
	start := time.Now()
	timer := time.AfterFunc(b.pace.every, func() {
		_ = b.Close()
		close(stalled)
	})
	n, err := b.ReadCloser.Read(p)
	if !timer.Stop() {
		<-stalled
		if n == 0 {
			return 0, fmt.Errorf("%w: nothing in %s", errStalled, b.pace.every)
		}
	}
	b.arrived += int64(n)
	if b.waiting += time.Since(start); b.waiting >= b.pace.every && err == nil {
		if b.arrived < b.pace.bytes {
			return 0, fmt.Errorf("%w: %d bytes in %s", errStalled, b.arrived, b.pace.every)
		}
		b.waiting, b.arrived = 0, 0
	}
	return n, err
}
