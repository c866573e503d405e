package admission

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
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
	crowdReserve = 4 * time.Millisecond
	// maxCrowd is the largest part of its time that a request keeps for that: one
	// of so many.
	maxCrowd = 4
)

// Deadlines gives each request's context the deadline by which its answer must be
// ready. controller-runtime does not look at it.
//
// An API server counts from before it connects. Where hundreds of requests come at
// once while images are unpacked, or the machine is short of processors, they wait
// for seconds until anybody looks at them: first their connections, then they
// themselves. The kernel knows since when; where it does not tell, a request counts
// from its handler on. Connection and TLS have connections known.
type Deadlines struct {
	waiting atomic.Int64
}

type connectionKey struct{}

// connection is what is known of one.
type connection struct {
	raw net.Conn
	// hello is when the first message of its handshake came, in nanoseconds since
	// 1970; 0 before that, and once a request was charged with the handshake.
	hello atomic.Int64
}

// Connection is an http.Server's ConnContext.
func (d *Deadlines) Connection(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, &connection{raw: conn})
}

// TLS has handshakes counted, besides what c does in GetConfigForClient.
func (d *Deadlines) TLS(c *tls.Config) {
	next := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if known, ok := hello.Context().Value(connectionKey{}).(*connection); ok {
			_, received, _ := silence(known.raw)
			known.hello.Store(time.Now().Add(-received).UnixNano())
		}
		if next == nil {
			return nil, nil // as it is
		}
		return next(hello)
	}
}

// waited returns how long a request that is looked at now had to wait. The first
// of a connection is charged with the server's part of the handshake too, but not
// with the time after that: it may have stood open.
func (c *connection) waited() time.Duration {
	sent, received, told := silence(c.raw)
	hello := c.hello.Swap(0)
	if hello == 0 || !told {
		return received
	}
	return received + max(time.Since(time.Unix(0, hello))-sent, 0)
}

// Set passes requests on with their deadline: what the API server says in the
// query as timeout (for example ?timeout=10s), less the time that they waited and a
// reserve for the answer.
func (d *Deadlines) Set(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
		if err != nil || timeout <= 0 {
			timeout = DefaultTimeout
		}
		timeout = min(timeout, maxTimeout)
		crowd := min(time.Duration(d.waiting.Add(1)-1)*crowdReserve, timeout/maxCrowd)
		defer d.waiting.Add(-1)
		// A short timeout is halved rather than used up by the reserve.
		left := max(timeout-ReplyReserve-crowd, timeout/2)
		if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			left -= c.waited()
		}
		ctx, cancel := context.WithTimeout(r.Context(), left)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
