package reviewserver

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// defaultTimeout applies to a request without a timeout parameter. It is the
	// API server's default for a webhook's timeoutSeconds.
	defaultTimeout = 10 * time.Second
	// maxTimeout is the largest timeoutSeconds that an API server accepts.
	maxTimeout = 30 * time.Second
	// replyReserve is kept for wording and sending the answer.
	replyReserve = 500 * time.Millisecond
	// concurrentReserve is kept in addition for each other request in progress:
	// requests that wait for the same image are answered at the same moment.
	concurrentReserve = 4 * time.Millisecond
	// maxConcurrentShare limits that reserve to 1/maxConcurrentShare of the timeout.
	maxConcurrentShare = 4
)

// deadlines sets the time by which the answer to each request must be ready.
//
// An API server's timeout starts before it connects. Under load, a connection and
// then a request can wait for seconds until they are served. The kernel knows how
// long (TCP_INFO). On systems without it, the time starts with the handler.
type deadlines struct {
	inProgress atomic.Int64
}

// start returns a context with the deadline of a request: the timeout that the API
// server sends in the query (such as 10s in ?timeout=10s), less the time that the
// request has waited and the reserves for the answer. ctx is the request's. The
// caller calls done after the answer.
func (d *deadlines) start(ctx context.Context, query string) (_ context.Context, done func()) {
	timeout, err := time.ParseDuration(query)
	if err != nil || timeout <= 0 {
		timeout = defaultTimeout
	}
	timeout = min(timeout, maxTimeout)
	concurrent := min(time.Duration(d.inProgress.Add(1)-1)*concurrentReserve, timeout/maxConcurrentShare)
	// At least half of a short timeout is left for judging.
	remaining := max(timeout-replyReserve-concurrent, timeout/2)
	if c := connectionOf(ctx); c != nil {
		remaining -= c.queued()
	}
	ctx, cancel := context.WithTimeout(ctx, remaining)
	return ctx, func() {
		cancel()
		d.inProgress.Add(-1)
	}
}
