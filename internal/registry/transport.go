package registry

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// TransportOptions restrict the connections of a transport.
type TransportOptions struct {
	// PlainHTTP lists the hosts (host or host:port) to reach without TLS.
	PlainHTTP []string
	// Allow lists networks to permit although they are refused by default, Deny
	// networks to refuse. Allow takes precedence.
	Allow, Deny []netip.Prefix
	// TLS holds private certificate authorities and client certificates; nil
	// means the system's configuration.
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
// and metadata addresses, and plain HTTP except to the hosts of
// TransportOptions.PlainHTTP. It checks the address of each connection as it is
// opened, so the check covers redirects and token realms and holds against DNS
// rebinding.
//
// With a proxy in the environment (HTTPS_PROXY), the connection leads to the
// proxy, whose address must be permitted. Only the proxy can restrict its own
// connections; URLs with a refused address as host are refused here as well.
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
			// Layers are compressed already, and their digests are of those bytes.
			DisableCompression: true,
		},
	}
}

// errRedirects reports an endless chain of redirects.
var errRedirects = errors.New("too many redirects")

// schemeGuard refuses plain HTTP except to chosen hosts, URLs with a refused
// address as host, and long chains of redirects, which go-containerregistry
// would follow for ever.
type schemeGuard struct {
	plain []string
	guard *guard
	next  http.RoundTripper
}

func (g *schemeGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	return g.next.RoundTrip(r)
}

func (g *schemeGuard) check(r *http.Request) error {
	if err := g.guard.checkHost(r.URL.Hostname()); err != nil {
		return err
	}
	if r.URL.Scheme != "https" && !allowsPlain(g.plain, r.URL.Host) {
		return fmt.Errorf("%w: %s is plain HTTP, which is not allowed for it", ErrBlocked, r.URL.Host)
	}
	redirects := 0
	for at := r; at.Response != nil && at.Response.Request != nil; at = at.Response.Request {
		if redirects++; redirects > maxRedirects {
			return fmt.Errorf("%w: %d", errRedirects, redirects)
		}
	}
	return nil
}

func allowsPlain(plain []string, host string) bool {
	if slices.Contains(plain, host) {
		return true
	}
	bare, _, err := net.SplitHostPort(host)
	return err == nil && slices.Contains(plain, bare)
}

// requestRules are the rules of every request to a registry: bounded answers at a
// minimum pace, circuit breakers and retries.
type requestRules struct{ pace pace }

// on adds the rules to a transport.
func (rules requestRules) on(next http.RoundTripper) http.RoundTripper {
	return boundedAnswers{newBreaker(retrier{boundedErrors{paced{next, rules.pace}}})}
}

// maxErrorBytes is the part of an error that is read, in bytes.
const maxErrorBytes = 64 << 10

// boundedAnswers bounds every answer except blobs, whose readers have their own
// limits. So has go-containerregistry for tokens, whose address a registry chooses.
type boundedAnswers struct{ next http.RoundTripper }

func (t boundedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	first := r // a redirect may lead to any path
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	if err == nil && !strings.Contains(first.URL.Path, "/"+blobs+"/") {
		response.Body = &boundedBody{response.Body, MaxManifestBytes}
	}
	return response, err
}

// boundedBody fails past its limit.
type boundedBody struct {
	io.ReadCloser
	remaining int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.remaining -= int64(n); b.remaining < 0 {
		return n, fmt.Errorf("%w: the answer has more than %d bytes", ErrTooLarge, MaxManifestBytes)
	}
	return n, err
}

// boundedErrors cuts the body of an error short: its status suffices.
type boundedErrors struct{ next http.RoundTripper }

func (t boundedErrors) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		body := response.Body
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(body, maxErrorBytes), body}
	}
	return response, err
}
