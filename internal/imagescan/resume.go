package imagescan

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

// maxResumes is how often the download of one blob is taken up again.
const maxResumes = 3

// errStalled says that a download stood still, or nearly.
var errStalled = errors.New("the registry sends too slowly")

// pace is how many bytes a registry has to send in how long.
type pace struct {
	least int64
	in    time.Duration
}

// download reads a blob, and takes it up again where a connection broke. What
// comes out is not verified: pieces of two answers need not fit, which the
// digest of the whole tells.
type download struct {
	ctx     context.Context //nolint:containedctx // it is that of one reading, which Close ends
	ask     func(ctx context.Context, from int64) (*http.Response, error)
	at      int64
	resumes int
	// pace is what has to come in how long. Only time counts in which this side
	// waits for the registry: one that reads slowly itself is no fault of it.
	pace   pace
	waited time.Duration
	got    int64 // while it waited

	mu     sync.Mutex // Close comes from elsewhere
	body   io.ReadCloser
	closed bool
}

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	for {
		n, err := d.readOnce(p)
		d.at += int64(n)
		if n > 0 || err == nil || errors.Is(err, io.EOF) {
			if errors.Is(err, io.EOF) {
				return n, io.EOF
			}
			return n, nil // an error comes again
		}
		if d.ctx.Err() != nil || errors.Is(err, errStalled) || d.resumes == maxResumes {
			return 0, err
		}
		if again := d.resume(); again != nil {
			return 0, errors.Join(err, again)
		}
	}
}

// readOnce reads from the present answer, which is given up when it stands still.
func (d *download) readOnce(p []byte) (int, error) {
	d.mu.Lock()
	body := d.body
	d.mu.Unlock()
	stalled := make(chan struct{})
	start := time.Now()
	timer := time.AfterFunc(d.pace.in, func() {
		_ = body.Close()
		close(stalled)
	})
	n, err := body.Read(p)
	if !timer.Stop() {
		<-stalled
		if n == 0 {
			return 0, fmt.Errorf("%w: nothing in %s", errStalled, d.pace.in)
		}
	}
	d.got += int64(n)
	if d.waited += time.Since(start); d.waited >= d.pace.in && err == nil {
		if d.got < d.pace.least {
			return 0, fmt.Errorf("%w: %d bytes in %s", errStalled, d.got, d.pace.in)
		}
		d.waited, d.got = 0, 0
	}
	return n, err
}

// resume asks for what is missing. A server that knows no ranges sends it all.
func (d *download) resume() error {
	d.resumes++
	_ = d.body.Close()
	response, err := d.ask(d.ctx, d.at)
	var refused *transport.Error
	if errors.As(err, &refused) && d.at > 0 { // perhaps only the range is
		response, err = d.ask(d.ctx, 0)
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
	if response.StatusCode != http.StatusPartialContent && d.at > 0 {
		if _, err := io.CopyN(io.Discard, response.Body, d.at); err != nil {
			return fmt.Errorf("reading again from the start: %w", err)
		}
	}
	return nil
}

// Close implements io.Closer. It wakes a Read that waits.
func (d *download) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return d.body.Close()
}
