package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// maxResumes bounds the resumptions of one download.
const maxResumes = 3

// download reads a blob and resumes it after a broken connection. Its content is
// not verified: the pieces of two answers need not fit together, which only the
// digest of the whole shows.
type download struct {
	ctx     context.Context //nolint:containedctx // of one blob, ended by Close
	request func(offset int64) (*http.Response, error)
	offset  int64
	resumes int
	// unwatch stops the close at the end of ctx.
	unwatch func() bool

	mu     sync.Mutex // Close is called from other goroutines
	body   io.ReadCloser
	closed bool
}

// startDownload starts a download with the first answer to request.
func startDownload(ctx context.Context, request func(offset int64) (*http.Response, error)) (io.ReadCloser, error) {
	response, err := request(0) //nolint:bodyclose // the download closes it
	if err != nil {
		return nil, err
	}
	d := &download{ctx: ctx, request: request, body: response.Body}
	d.unwatch = context.AfterFunc(ctx, d.close)
	return d, nil
}

func (d *download) Read(p []byte) (int, error) {
	for {
		d.mu.Lock()
		body := d.body
		d.mu.Unlock()
		n, err := body.Read(p)
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
