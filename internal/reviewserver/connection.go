package reviewserver

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// connection is an open connection.
type connection struct {
	conn    net.Conn
	tcp     net.Conn // conn without TLS
	address netip.Addr
	// authenticated is set by the first authenticated request.
	authenticated atomic.Bool
	// hello is the arrival of the ClientHello in Unix nanoseconds. It is 0 before
	// the handshake, and after the first request has been charged with it.
	hello atomic.Int64

	// placed is closed when the connection gets a place.
	placed chan struct{}

	// connections.mu guards these.
	ready   bool      // waits for a place, with its ClientHello
	active  bool      // serves a request
	changed time.Time // of active; before, the time of its arrival or place
}

func newConnection(conn net.Conn) *connection {
	c := &connection{conn: conn, tcp: conn, placed: make(chan struct{}), changed: time.Now()}
	if secure, ok := conn.(*tls.Conn); ok {
		c.tcp = secure.NetConn()
	}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.address = tcp.AddrPort().Addr().Unmap()
	}
	return c
}

// abort closes the connection without TLS's close_notify, which could block on a
// peer that does not read.
func (c *connection) abort() { _ = c.tcp.Close() }

// helloReceived notes the arrival of the ClientHello.
func (c *connection) helloReceived() {
	_, received, _ := sinceLastData(c.tcp)
	c.hello.Store(time.Now().Add(-received).UnixNano())
}

// queued returns how long the current request waited for its handler. The first
// request of a connection is also charged with the server's part of the handshake,
// but not with the time between the two, when the connection may have been idle.
func (c *connection) queued() time.Duration {
	sent, received, known := sinceLastData(c.tcp)
	hello := c.hello.Swap(0)
	if hello == 0 || !known {
		return received
	}
	return received + max(time.Since(time.Unix(0, hello))-sent, 0)
}
