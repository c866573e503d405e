package imagescan

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
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

// refusedByDefault are networks that no registry of a Pod's author's choice has
// any business in, besides those that netip itself tells apart: addresses of
// cloud providers' metadata services.
var refusedByDefault = [...]string{"100.100.100.200/32", "fd00:ec2::254/128"}

// NewTransport returns a transport that refuses loopback, link-local, multicast
// and metadata addresses, and plain HTTP but where it is allowed by name. The
// check is made on the address that a connection is really opened to, so it
// holds for redirects and token realms, and against DNS that changes its mind.
func NewTransport(o TransportOptions) http.RoundTripper {
	guard := &guard{allow: o.Allow, deny: o.Deny}
	for _, network := range refusedByDefault {
		guard.deny = append(guard.deny, netip.MustParsePrefix(network))
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, ControlContext: guard.control}
	return &schemeGuard{
		plain: o.PlainHTTP,
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

type guard struct{ allow, deny []netip.Prefix }

// control runs after name resolution, before each connection is opened.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", errBlocked, address)
	}
	ip := at.Addr().Unmap().WithZone("")
	contains := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(g.allow, contains) {
		return nil
	}
	if ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || slices.ContainsFunc(g.deny, contains) {
		return fmt.Errorf("%w: the address %s is refused (an administrator can allow it)", errBlocked, ip)
	}
	return nil
}

// schemeGuard refuses plain HTTP but to hosts that are named for it, and ends
// chains of redirects: go-containerregistry follows them without end.
type schemeGuard struct {
	plain []string
	next  http.RoundTripper
}

func (g *schemeGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !allowsPlain(g.plain, r.URL.Host) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("%w: %s is plain HTTP, which is not allowed for it", errBlocked, r.URL.Host)
	}
	redirects := 0
	for at := r; at.Response != nil && at.Response.Request != nil; at = at.Response.Request {
		if redirects++; redirects > maxRedirects {
			return nil, fmt.Errorf("more than %d redirects", maxRedirects)
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
