package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// connections bounds how many a server has at a time. A bound alone would let
// strangers who take every place lock the API servers out. Here a newcomer takes
// the place of whoever has the least claim to it: first a connection on which
// nobody has yet asked what he may, then one of the address that has the most.
// An API server has at most as many as it has requests at a time.
type connections struct {
	most   int
	closed prometheus.Counter // for want of room

	mu   sync.Mutex
	open map[net.Conn]*connection
	from map[netip.Addr]int // how many there are of each address
	turn uint64
}

// connection is an open one. connections guards its fields.
type connection struct {
	address netip.Addr
	asked   bool   // with a request that is permitted
	busy    bool   // with a request
	since   uint64 // the turn of its last change
}

type connectionKey struct{}

func newConnections(most int, registry prometheus.Registerer) (*connections, error) {
	c := &connections{
		most: most,
		closed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "capvet_connections_closed_total",
			Help: "Connections for admission reviews that were closed because there were too many; see --max-connections.",
		}),
		open: map[net.Conn]*connection{}, from: map[netip.Addr]int{},
	}
	return c, registry.Register(c.closed)
}

// begin is an http.Server's ConnContext: it finds a place for a connection, or
// closes it.
func (c *connections) begin(ctx context.Context, conn net.Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	newcomer := &connection{address: addressOf(conn), since: c.turn}
	if len(c.open) >= c.most {
		c.closed.Inc()
		victim, held := c.victim()
		if held.asked && c.from[newcomer.address] >= c.from[held.address] {
			cut(conn)
			return ctx
		}
		cut(victim)
		c.remove(victim)
	}
	c.open[conn] = newcomer
	c.from[newcomer.address]++
	return context.WithValue(ctx, connectionKey{}, newcomer)
}

// victim returns the connection with the least claim to its place.
func (c *connections) victim() (victim net.Conn, held *connection) {
	for conn, other := range c.open {
		if held == nil || c.yields(other, held) {
			victim, held = conn, other
		}
	}
	return victim, held
}

// yields reports whether a has less claim to its place than b.
func (c *connections) yields(a, b *connection) bool {
	switch {
	case a.asked != b.asked:
		return b.asked
	case c.from[a.address] != c.from[b.address]:
		return c.from[a.address] > c.from[b.address]
	case a.busy != b.busy:
		return b.busy
	}
	return a.since < b.since
}

// state is an http.Server's ConnState.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.open[conn]
	if held == nil {
		return // it has been closed for want of room
	}
	switch state {
	case http.StateActive, http.StateIdle:
		c.turn++
		held.busy, held.since = state == http.StateActive, c.turn
	case http.StateClosed, http.StateHijacked:
		c.remove(conn)
	}
}

func (c *connections) remove(conn net.Conn) {
	held := c.open[conn]
	delete(c.open, conn)
	if c.from[held.address]--; c.from[held.address] == 0 {
		delete(c.from, held.address)
	}
}

// asking notes that a permitted request has come down its connection.
func (c *connections) asking(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if held, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			c.mu.Lock()
			held.asked = true
			c.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// cut closes a connection without the good-bye that TLS has: who is at the other
// end may not be listening.
func cut(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
