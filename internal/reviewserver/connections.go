package reviewserver

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// connections bounds the number of open connections. A bound alone would let a
// client that takes every place lock out the API servers. So a new connection
// evicts the one with the weakest claim: first one that has not yet carried an
// authenticated request, then one of the address with the most connections. An
// API server holds no more connections than it has requests in flight.
type connections struct {
	limit   int
	evicted prometheus.Counter

	mu         sync.Mutex
	open       map[net.Conn]*connection
	perAddress map[netip.Addr]int
	clock      uint64 // counts changes of connections
}

type connectionKey struct{}

// connectionOf returns the connection of a request's or a handshake's context; nil
// if it has been evicted.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

func newConnections(limit int, registry prometheus.Registerer) *connections {
	return &connections{
		limit: limit,
		evicted: promauto.With(registry).NewCounter(prometheus.CounterOpts{
			Name: "capvet_connections_closed_total",
			Help: "Connections for admission reviews that were closed because of --max-connections.",
		}),
		open: map[net.Conn]*connection{}, perAddress: map[netip.Addr]int{},
	}
}

// accept is an http.Server's ConnContext. It finds a place for a connection, or
// closes it.
func (c *connections) accept(ctx context.Context, conn net.Conn) context.Context {
	added := newConnection(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	added.changed = c.clock
	if len(c.open) >= c.limit {
		c.evicted.Inc()
		victim := c.weakest()
		if victim.authenticated.Load() && c.perAddress[added.address] >= c.perAddress[victim.address] {
			added.abort()
			return ctx
		}
		victim.abort()
		c.remove(victim)
	}
	c.open[conn] = added
	c.perAddress[added.address]++
	return context.WithValue(ctx, connectionKey{}, added)
}

// weakest returns the connection with the weakest claim to its place.
func (c *connections) weakest() *connection {
	var weakest *connection
	for _, candidate := range c.open {
		if weakest == nil || c.weaker(candidate, weakest) {
			weakest = candidate
		}
	}
	return weakest
}

// weaker reports whether a has a weaker claim to its place than b.
func (c *connections) weaker(a, b *connection) bool {
	switch {
	case a.authenticated.Load() != b.authenticated.Load():
		return b.authenticated.Load()
	case c.perAddress[a.address] != c.perAddress[b.address]:
		return c.perAddress[a.address] > c.perAddress[b.address]
	case a.active != b.active:
		return b.active
	}
	return a.changed < b.changed
}

// setState is an http.Server's ConnState.
func (c *connections) setState(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.open[conn]
	if known == nil {
		return // evicted
	}
	switch state {
	case http.StateActive, http.StateIdle:
		c.clock++
		known.active, known.changed = state == http.StateActive, c.clock
	case http.StateClosed, http.StateHijacked:
		c.remove(known)
	}
}

func (c *connections) remove(known *connection) {
	delete(c.open, known.conn)
	if c.perAddress[known.address]--; c.perAddress[known.address] == 0 {
		delete(c.perAddress, known.address)
	}
}
