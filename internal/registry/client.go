// Package registry reads manifests and blobs from container registries over
// the OCI distribution protocol: sessions with tokens, containerd's hosts.toml
// mirrors, TLS, retries, circuit breakers, and downloads that resume.
//
// It does not interpret manifests or layers, and it verifies digests of
// manifests only: the reader of a blob verifies the blob. References and
// registries are hostile. Connections go through NewTransport, which refuses
// loopback, link-local and metadata addresses; sizes, times, retries and
// redirects are bounded.
package registry

import (
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/semaphore"
)

// Options configure a Client.
type Options struct {
	// TransportOptions restrict the connections to registries and mirrors.
	TransportOptions
	// Transport carries the requests to registries; nil means NewTransport.
	Transport http.RoundTripper
	// HostsDir is the directory of containerd's hosts.toml files, one folder per
	// registry; empty means none. It is read again after changes: OnReloadError
	// receives the error of a failed reload, after which the last good
	// configuration stays in use; nil discards it.
	HostsDir      string
	OnReloadError func(error)
	// Access restricts the registries that may be read.
	Access Access
	// UserAgent is sent with every request.
	UserAgent string
	// StallTime bounds the time in which a registry may send no byte of an
	// answer, whatever it is. Zero means DefaultStallTime.
	StallTime time.Duration
	// StallBytes is the least number of bytes of an answer in each StallTime: a
	// slow drip would hold a scan until its time is up. Zero means
	// DefaultStallBytes.
	StallBytes int64
}

// Defaults of Options.
const (
	DefaultStallTime  = 30 * time.Second
	DefaultStallBytes = 256 << 10 // about 9 kB a second
)

// MaxReferenceBytes is the longest image reference, in bytes. Names of at most 255
// (distribution/reference), a host of at most 253 (RFC 1035), a tag of at most
// 128 and a digest fit.
const MaxReferenceBytes = 1024

// Client opens sessions with registries. It is safe for concurrent use.
type Client struct {
	options   Options
	transport http.RoundTripper
	hosts     *hosts
}

// NewClient returns a Client. It fails on a malformed glob in Options.Access, and
// on malformed files in Options.HostsDir.
func NewClient(o Options) (*Client, error) {
	err := o.Access.validate()
	if err != nil {
		return nil, err
	}
	if o.Transport == nil {
		o.Transport = NewTransport(o.TransportOptions)
	}
	if o.StallTime <= 0 {
		o.StallTime = DefaultStallTime
	}
	if o.StallBytes <= 0 {
		o.StallBytes = DefaultStallBytes
	}
	rules := requestRules{pace{o.StallBytes, o.StallTime}}
	c := &Client{options: o, transport: rules.on(o.Transport)}
	if o.HostsDir != "" {
		c.hosts, err = loadHosts(o.HostsDir, endpointOptions{o.TransportOptions, rules}, o.OnReloadError)
	}
	return c, err
}

// ParseReference parses an image reference. The error wraps ErrReference for a
// malformed one and ErrBlocked for a registry that Options.Access denies.
func (c *Client) ParseReference(reference string) (name.Reference, error) {
	if len(reference) > MaxReferenceBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrReference, len(reference), MaxReferenceBytes)
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	host := ref.Context().RegistryStr()
	if allowsPlain(c.options.PlainHTTP, host) {
		if ref, err = name.ParseReference(reference, name.Insecure); err != nil {
			return nil, err
		}
	}
	return ref, c.options.Access.check(host)
}

// Open returns a session with a repository. It sends no request yet.
func (c *Client) Open(repository name.Repository, auth authn.Authenticator) *Session {
	s := &Session{repository: repository}
	plain := allowsPlain(c.options.PlainHTTP, repository.RegistryStr())
	for _, e := range c.hosts.endpoints(repository.Registry, c.transport, plain) {
		client := &endpointClient{endpoint: e, userAgent: c.options.UserAgent, auth: auth, connecting: semaphore.NewWeighted(1)}
		if e.mirror {
			client.auth = authn.Anonymous // credentials belong to the registry alone
		}
		s.clients = append(s.clients, client)
	}
	return s
}
