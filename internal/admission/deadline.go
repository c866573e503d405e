package admission

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultTimeout holds when a request does not say how long its sender
	// waits. It is the API server's own default for a webhook.
	DefaultTimeout = 10 * time.Second
	// maxTimeout is the longest that the API server accepts in a webhook's
	// timeoutSeconds.
	maxTimeout = 30 * time.Second
	// ReplyReserve is the time kept for wording and sending the answer.
	ReplyReserve = 500 * time.Millisecond
	// crowdReserve is kept besides for each other request that waits, since most of
	// those that wait for one image are answered at one moment.
	crowdReserve = 2 * time.Millisecond
	// maxReserve is the most of its time that a request's reserve takes: one of so
	// many parts.
	maxReserve = 4
)

// Deadlines gives each request's context the deadline by which its answer must be
// ready. controller-runtime does not look at it. The zero value is ready to use.
type Deadlines struct {
	waiting atomic.Int64

	mu    sync.Mutex
	began map[string]time.Time // connections without a request yet, by remote address
}

// maxBegun is how many connections without a request are remembered.
const maxBegun = 4096

// TLS has connections remembered from the beginning of their handshakes, besides
// what c does then: an API server counts a request's time from before it connects,
// and where hundreds connect at once, while images are unpacked, the handshakes
// take a good part of it.
func (d *Deadlines) TLS(c *tls.Config) {
	next := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		d.begin(hello.Conn.RemoteAddr().String(), time.Now())
		if next == nil {
			return nil, nil
		}
		return next(hello)
	}
}

func (d *Deadlines) begin(remote string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.began == nil || len(d.began) >= maxBegun {
		d.began = map[string]time.Time{}
	}
	d.began[remote] = now
}

// start returns since when a request's time counts: if it is the first one on its
// connection, since that began. One that stood open for half the time was not made
// for this request.
func (d *Deadlines) start(remote string, now time.Time, timeout time.Duration) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	began, first := d.began[remote]
	delete(d.began, remote)
	if !first || now.Sub(began) > timeout/2 {
		return now
	}
	return began
}

// Set passes requests on with their deadline: what the API server says in the
// query as timeout (for example ?timeout=10s), less a reserve for the answer.
func (d *Deadlines) Set(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
		if err != nil || timeout <= 0 {
			timeout = DefaultTimeout
		}
		timeout = min(timeout, maxTimeout)
		crowd := min(time.Duration(d.waiting.Add(1)-1)*crowdReserve, timeout/maxReserve)
		defer d.waiting.Add(-1)
		start := d.start(r.RemoteAddr, time.Now(), timeout)
		// A short timeout is halved rather than used up by the reserve.
		ctx, cancel := context.WithDeadline(r.Context(), start.Add(max(timeout-ReplyReserve-crowd, timeout/2)))
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
