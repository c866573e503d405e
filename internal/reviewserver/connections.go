package reviewserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

const (
	// quietTime is how long a connection from an address without an authenticated request keeps
	// its place for certain: longer than a handshake takes.
	quietTime = 2 * time.Second
	// waitingFactor bounds the connections that wait for a place, as a multiple of the places.
	waitingFactor = 3
)

// connections bounds the number of open connections. A bound alone would let a
// client that takes every place lock out the API servers. So a new connection
// evicts one with a weaker claim: first one of an address without authenticated
// requests, then one of an address with more connections. It never evicts one of its
// own address, but waits: an API server opens a connection for each request in
// flight, and many of its older ones are about to close.
type connections struct {
	limit    int
	patience time.Duration // of a connection without a place
	evicted  prometheus.Counter
	crowded  atomic.Bool // a connection waits for a place

	mu        sync.Mutex
	open      map[net.Conn]*connection
	waiting   map[net.Conn]*connection // at most waitingFactor * limit
	addresses map[netip.Addr]*address  // with open connections
}

// address counts the open connections of an address, and those among them that have
// carried an authenticated request.
type address struct{ open, authenticated int }

type connectionKey struct{}

var errNoPlace = errors.New("no place for a further connection; see --max-connections")

// connectionOf returns the connection of a request's or a handshake's context; nil
// if it has been evicted.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

func newConnections(limit int, patience time.Duration, registry prometheus.Registerer) *connections {
	return &connections{
		limit: limit, patience: patience,
		evicted: promauto.With(registry).NewCounter(prometheus.CounterOpts{
			Name: "capvet_connections_closed_total",
			Help: "Connections for admission reviews that were closed because of --max-connections.",
		}),
		open: map[net.Conn]*connection{}, waiting: map[net.Conn]*connection{}, addresses: map[netip.Addr]*address{},
	}
}

// accept is an http.Server's ConnContext. It gives a connection a place, lets it wait
// for one, or closes it.
func (c *connections) accept(ctx context.Context, conn net.Conn) context.Context {
	added := newConnection(conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.place(added):
	case len(c.waiting) < waitingFactor*c.limit:
		c.waiting[conn] = added
	default:
		c.evicted.Inc()
		added.abort()
		return ctx
	}
	return context.WithValue(ctx, connectionKey{}, added)
}

// place gives a connection a place, if there is one or if another one has a weaker
// claim to its own.
func (c *connections) place(added *connection) bool {
	if len(c.open) >= c.limit {
		victim := c.weakest(added)
		if victim == nil {
			return false
		}
		c.evicted.Inc()
		victim.abort()
		c.remove(victim)
	}
	delete(c.waiting, added.conn)
	c.crowded.Store(c.next() != nil)
	c.open[added.conn] = added
	added.changed = time.Now()
	of := c.addresses[added.address]
	if of == nil {
		of = &address{}
		c.addresses[added.address] = of
	}
	of.open++
	close(added.placed)
	return true
}

// await waits until a connection has a place. It is called when the ClientHello has
// arrived: a silent connection takes no place from those that are waiting.
func (c *connections) await(ctx context.Context, added *connection) error {
	select {
	case <-added.placed:
		return nil
	default:
	}
	expired := time.NewTimer(c.patience)
	defer expired.Stop()
	retry := time.NewTicker(quietTime)
	defer retry.Stop()
	for {
		c.mu.Lock()
		if c.waiting[added.conn] == added && !c.place(added) {
			added.ready = true
			c.crowded.Store(true)
		}
		c.mu.Unlock()
		select {
		case <-added.placed:
			return nil
		case <-retry.C:
		case <-expired.C:
			return errNoPlace
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next returns the waiting connection with the strongest claim to a place; nil without
// one.
func (c *connections) next() *connection {
	var next *connection
	for _, candidate := range c.waiting {
		if candidate.ready && (next == nil || c.weaker(next, candidate)) {
			next = candidate
		}
	}
	return next
}

// weakest returns the connection with the weakest claim to its place, among those
// with a weaker claim than added; nil without one.
func (c *connections) weakest(added *connection) *connection {
	var weakest *connection
	now := time.Now()
	for _, candidate := range c.open {
		if c.yields(candidate, added, now) && (weakest == nil || c.weaker(candidate, weakest)) {
			weakest = candidate
		}
	}
	return weakest
}

// yields reports whether an open connection has a weaker claim to its place than
// added has.
func (c *connections) yields(candidate, added *connection, now time.Time) bool {
	of, own := c.of(candidate), c.of(added)
	switch {
	case candidate.address == added.address:
		return false
	case of.authenticated == 0 && (own.authenticated > 0 || now.Sub(candidate.changed) > quietTime):
		return true
	}
	return of.open > own.open+1
}

// weaker reports whether a has a weaker claim to a place than b.
func (c *connections) weaker(a, b *connection) bool {
	ofA, ofB := c.of(a), c.of(b)
	switch {
	case (ofA.authenticated > 0) != (ofB.authenticated > 0):
		return ofB.authenticated > 0
	case ofA.open != ofB.open:
		return ofA.open > ofB.open
	case a.active != b.active:
		return b.active
	case a.ready: // both wait: the first one goes first
		return a.changed.After(b.changed)
	}
	return a.changed.Before(b.changed)
}

// of returns the counts of a connection's address.
func (c *connections) of(connection *connection) address {
	if of := c.addresses[connection.address]; of != nil {
		return *of
	}
	return address{}
}

// authenticate notes that a connection has carried an authenticated request.
func (c *connections) authenticate(connection *connection) {
	if connection.authenticated.Load() { // as most have
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if of := c.addresses[connection.address]; of != nil && c.open[connection.conn] == connection && !connection.authenticated.Swap(true) {
		of.authenticated++
	}
}

// setState is an http.Server's ConnState.
func (c *connections) setState(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	closed := state == http.StateClosed || state == http.StateHijacked
	known := c.open[conn]
	switch {
	case known == nil: // evicted or waiting
		if closed {
			delete(c.waiting, conn)
			c.crowded.Store(c.next() != nil)
		}
	case closed:
		c.remove(known)
		if next := c.next(); next != nil {
			c.place(next)
		}
	case state == http.StateActive, state == http.StateIdle:
		known.active, known.changed = state == http.StateActive, time.Now()
	}
}

func (c *connections) remove(known *connection) {
	delete(c.open, known.conn)
	of := c.addresses[known.address]
	if of.open--; of.open == 0 {
		delete(c.addresses, known.address)
	}
	if known.authenticated.Load() {
		of.authenticated--
	}
}
