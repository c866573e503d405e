package imagescan

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// TransportOptions say where connections may go.
type TransportOptions struct {
	// PlainHTTP are the hosts (host or host:port) that may be spoken to
	// without TLS.
	PlainHTTP []string
	// Allow are networks that may be connected to though they are refused by
	// default. Deny are networks that may not; Allow wins.
	Allow, Deny []netip.Prefix
	// TLS is for private certificate authorities and client certificates; nil:
	// the system's.
	TLS *tls.Config
}

// Bounds of connections.
const (
	dialTimeout         = 10 * time.Second
	tlsTimeout          = 10 * time.Second
	headerTimeout       = 30 * time.Second
	idleTimeout         = 90 * time.Second
	maxIdlePerHost      = 8
	maxResponseHeader   = 64 << 10
	maxRedirects        = 10
	defaultMaxIdleConns = 64
)

// NewTransport returns a transport that refuses loopback, link-local, multicast
// and metadata addresses, and plain HTTP but where it is allowed by name. The
// check is made on the address that a connection is really opened to, so it
// holds for redirects and token realms, and against DNS that changes its mind.
//
// Where the environment sets a proxy (HTTPS_PROXY), the connection is one to the
// proxy, which has to be allowed itself if its address is of a refused kind.
// What the proxy then connects to only it can bound; hosts that are addresses
// are refused here all the same.
func NewTransport(o TransportOptions) http.RoundTripper {
	guard := newGuard(o.Allow, o.Deny)
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, ControlContext: guard.control}
	return &schemeGuard{
		plain: o.PlainHTTP,
		guard: guard,
		next: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        o.TLS,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    tlsTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			IdleConnTimeout:        idleTimeout,
			MaxIdleConns:           defaultMaxIdleConns,
			MaxIdleConnsPerHost:    maxIdlePerHost,
			MaxResponseHeaderBytes: maxResponseHeader,
			// A layer is packed already; its bytes are what its digest is of.
			DisableCompression: true,
		},
	}
}

// errRedirects says that a chain of redirects has no end.
var errRedirects = errors.New("too many redirects")

// schemeGuard refuses plain HTTP but to hosts that are named for it and hosts that
// are addresses of a refused kind, and ends chains of redirects: go-containerregistry follows them without end.
type schemeGuard struct {
	plain []string
	guard *guard
	next  http.RoundTripper
}

func (g *schemeGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.guard.checkHost(r.URL.Hostname()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	if r.URL.Scheme != "https" && !allowsPlain(g.plain, r.URL.Host) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("%w: %s is plain HTTP, which is not allowed for it", errBlocked, r.URL.Host)
	}
	redirects := 0
	for at := r; at.Response != nil && at.Response.Request != nil; at = at.Response.Request {
		if redirects++; redirects > maxRedirects {
			return nil, fmt.Errorf("%w: %d", errRedirects, redirects)
		}
	}
	return g.next.RoundTrip(r)
}

func allowsPlain(plain []string, host string) bool {
	if slices.Contains(plain, host) {
		return true
	}
	bare, _, err := net.SplitHostPort(host)
	return err == nil && slices.Contains(plain, bare)
}
