package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// maxResumes bounds the resumptions of one download.
const maxResumes = 3

// errStalled reports a download that stood still, or nearly.
var errStalled = errors.New("the registry sends too slowly")

// pace is the minimum speed of a download.
type pace struct {
	bytes int64         // at least
	every time.Duration // measured over
}

// download reads a blob and resumes it after a broken connection. Its content is
// not verified: the pieces of two answers need not fit together, which only the
// digest of the whole shows.
type download struct {
	ctx     context.Context //nolint:containedctx // of one blob, ended by Close
	request func(offset int64) (*http.Response, error)
	offset  int64
	resumes int
	// Only time spent waiting for the registry counts towards the pace: a slow
	// reader is not the registry's fault.
	pace    pace
	waiting time.Duration
	arrived int64 // bytes, in waiting
	// unwatch stops the close at the end of ctx.
	unwatch func() bool

	mu     sync.Mutex // Close is called from other goroutines
	body   io.ReadCloser
	closed bool
}

// download starts a download with the first answer to request.
func (s *Session) download(ctx context.Context, request func(offset int64) (*http.Response, error)) (io.ReadCloser, error) {
	response, err := request(0) //nolint:bodyclose // the download closes it
	if err != nil {
		return nil, err
	}
	d := &download{ctx: ctx, request: request, body: response.Body, pace: s.pace}
	d.unwatch = context.AfterFunc(ctx, d.close)
	return d, nil
}

func (d *download) Read(p []byte) (int, error) {
	for {
		n, err := d.readOnce(p)
		d.offset += int64(n)
		switch {
		case errors.Is(err, io.EOF):
			return n, io.EOF
		case n > 0 || err == nil:
			return n, nil // the next read meets the error again
		case d.ctx.Err() != nil:
			return 0, d.ctx.Err()
		case errors.Is(err, errStalled) || d.resumes == maxResumes:
			return 0, err
		}
		if again := d.resume(); again != nil {
			return 0, errors.Join(err, again)
		}
	}
}

// readOnce reads from the current answer and enforces the pace.
func (d *download) readOnce(p []byte) (int, error) {
	d.mu.Lock()
	body := d.body
	d.mu.Unlock()
	stalled := make(chan struct{})
	start := time.Now()
	timer := time.AfterFunc(d.pace.every, func() {
		_ = body.Close()
		close(stalled)
	})
	n, err := body.Read(p)
	if !timer.Stop() {
		<-stalled
		if n == 0 {
			return 0, fmt.Errorf("%w: nothing in %s", errStalled, d.pace.every)
		}
	}
	d.arrived += int64(n)
	if d.waiting += time.Since(start); d.waiting >= d.pace.every && err == nil {
		if d.arrived < d.pace.bytes {
			return 0, fmt.Errorf("%w: %d bytes in %s", errStalled, d.arrived, d.pace.every)
		}
		d.waiting, d.arrived = 0, 0
	}
	return n, err
}

// resume requests the missing bytes. A server without support for ranges sends
// the whole blob again.
func (d *download) resume() error {
	d.resumes++
	_ = d.body.Close()
	response, err := d.request(d.offset)
	if _, refused := errors.AsType[*transport.Error](err); refused && d.offset > 0 { // perhaps the range alone is refused
		response, err = d.request(0)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	if d.closed {
		_ = response.Body.Close()
	}
	d.body = response.Body
	d.mu.Unlock()
	if response.StatusCode != http.StatusPartialContent && d.offset > 0 {
		if _, err := io.CopyN(io.Discard, response.Body, d.offset); err != nil {
			return fmt.Errorf("reading again from the start: %w", err)
		}
	}
	return nil
}

// Close implements io.Closer. It wakes a blocked Read.
func (d *download) Close() error {
	d.unwatch()
	d.close()
	return nil
}

func (d *download) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	_ = d.body.Close()
}
