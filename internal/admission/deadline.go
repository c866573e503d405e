package admission

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
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
	// maxConnections is how many connections are known, the latest ones.
	maxConnections = 4096
)

// Deadlines gives each request's context the deadline by which its answer must be
// ready. controller-runtime does not look at it.
//
// An API server counts from before it connects. Where hundreds of requests come at
// once while images are unpacked, or the machine is short of processors, they wait
// for seconds until anybody looks at them: first their connections, then they
// themselves. The kernel knows since when; where it does not tell, a request counts
// from its handler on.
type Deadlines struct {
	waiting     atomic.Int64
	connections *lru.Cache[string, connection] // by remote address
}

// connection is one whose handshake is done.
type connection struct {
	raw net.Conn
	// waited is how long its handshake took, from when its first message came; zero
	// once a request was charged with it. Time that it stood open is none's.
	waited time.Duration
}

// NewDeadlines returns Deadlines that know of no connections.
func NewDeadlines() *Deadlines {
	connections, err := lru.New[string, connection](maxConnections)
	if err != nil { // for a size that is not positive
		panic(err)
	}
	return &Deadlines{connections: connections}
}

// TLS has connections known from their handshakes, besides what c does then.
func (d *Deadlines) TLS(c *tls.Config) {
	next := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		began := time.Now().Add(-sinceReceived(hello.Conn))
		own := c
		if next != nil {
			other, err := next(hello)
			if err != nil {
				return nil, err
			}
			own = cmp.Or(other, c)
		}
		own = own.Clone()
		own.GetConfigForClient, own.SessionTicketsDisabled = nil, true // tickets would be of one connection's keys
		verify := own.VerifyConnection
		own.VerifyConnection = func(state tls.ConnectionState) error { // the last of the handshake's own work
			d.connections.Add(hello.Conn.RemoteAddr().String(), connection{hello.Conn, time.Since(began)})
			if verify == nil {
				return nil
			}
			return verify(state)
		}
		return own, nil
	}
}

// waited returns how long a request that is looked at now had to wait.
func (d *Deadlines) waited(remote string) time.Duration {
	c, known := d.connections.Get(remote)
	if !known {
		return 0
	}
	if c.waited > 0 {
		d.connections.Add(remote, connection{raw: c.raw})
	}
	return c.waited + sinceReceived(c.raw)
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
		left := max(timeout-ReplyReserve-crowd, timeout/2) - d.waited(r.RemoteAddr)
		ctx, cancel := context.WithTimeout(r.Context(), left)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
