package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/semaphore"
)

// Session reads one repository with one credential, from its mirrors first. It
// may outlive the request that opened it: every call takes its own context.
type Session struct {
	repository name.Repository
	clients    []*endpointClient // in order of preference
}

// Manifest is a manifest or an index. Raw has the digest Digest.
type Manifest struct {
	Raw []byte
	// Release returns the memory that was reserved for Raw.
	Release   func()
	Digest    v1.Hash
	MediaType types.MediaType // as its source declares it; empty if undeclared
}

// MaxManifestBytes is the largest manifest or index, in bytes: twice the size
// that registries have to accept (OCI distribution specification, "Pushing
// Manifests").
const MaxManifestBytes = 8 << 20

// endpointClient connects a session to one endpoint.
type endpointClient struct {
	endpoint
	userAgent string
	auth      authn.Authenticator

	connecting *semaphore.Weighted // a mutex that honours contexts
	client     *http.Client
	silent     atomic.Bool // it gave no answer: later requests skip it
}

// manifestTypes is the Accept header of manifest requests.
var manifestTypes = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ",")

// connect negotiates the endpoint's authentication on first use.
func (c *endpointClient) connect(ctx context.Context, repository name.Repository) (*http.Client, error) {
	if err := c.connecting.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer c.connecting.Release(1)
	if c.client != nil {
		return c.client, nil
	}
	carrier := transport.NewUserAgent(withoutTLS{c.plain, c.base.Host, c.transport}, c.userAgent)
	if !c.skipPing {
		scope := c.registry.Repo(repository.RepositoryStr()).Scope(transport.PullScope)
		var err error
		if carrier, err = transport.NewWithContext(ctx, c.registry, c.auth, carrier, []string{scope}); err != nil {
			return nil, err
		}
	}
	c.client = &http.Client{Transport: carrier}
	return c.client, nil
}

// withoutTLS fails the TLS attempt that go-containerregistry makes before it
// speaks plain HTTP to a host.
type withoutTLS struct {
	plain bool
	host  string
	next  http.RoundTripper
}

func (t withoutTLS) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.plain && r.URL.Scheme == "https" && r.URL.Host == t.host && r.URL.Path == "/v2/" && r.Response == nil {
		return nil, http.ErrSchemeMismatch
	}
	return t.next.RoundTrip(r)
}

// resource addresses a manifest or blob of the repository.
type resource struct {
	kind       string // manifests or blobs
	identifier string // tag or digest
}

// Kinds of resources.
const (
	manifests = "manifests"
	blobs     = "blobs"
)

// byTag reports whether the resource is addressed by tag. Every digest contains
// a colon, no tag does.
func (r resource) byTag() bool { return !strings.Contains(r.identifier, ":") }

// get requests a resource from each suitable endpoint until one has it. The
// error is the last endpoint's, which is the registry's own.
func (s *Session) get(ctx context.Context, r resource, header http.Header) (*http.Response, error) {
	err := errNoEndpoint
	for i, c := range s.clients {
		if r.byTag() && !c.resolve || !r.byTag() && !c.pull || c.silent.Load() && i < len(s.clients)-1 {
			continue
		}
		var response *http.Response
		if response, err = s.getFrom(ctx, c, r, header); err == nil {
			return response, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if _, answered := errors.AsType[*transport.Error](err); !answered {
			c.silent.Store(true)
		}
	}
	return nil, err
}

// errNoEndpoint reports a hosts.toml without an endpoint for the request.
var errNoEndpoint = errors.New("no host is configured for this request")

// getFrom requests a resource from one endpoint. A status other than 200 or 206
// is a *transport.Error.
func (s *Session) getFrom(ctx context.Context, c *endpointClient, r resource, header http.Header) (*http.Response, error) {
	client, err := c.connect(ctx, s.repository)
	if err != nil {
		return nil, err
	}
	u := c.base
	u.Path += "/" + s.repository.RepositoryStr() + "/" + r.kind + "/" + r.identifier
	if c.mirror {
		u.RawQuery = url.Values{"ns": {s.repository.RegistryStr()}}.Encode() // as containerd does, for mirrors of several registries
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, c.header)
	maps.Copy(request.Header, header)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(response, http.StatusOK, http.StatusPartialContent); err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return response, nil
}

// Manifest returns the manifest or index under a tag or digest. The content under
// a digest is verified.
func (s *Session) Manifest(ctx context.Context, identifier string, reserve Reserve) (Manifest, error) {
	asked := resource{manifests, identifier}
	response, err := s.get(ctx, asked, http.Header{"Accept": {manifestTypes}})
	if err != nil {
		return Manifest{}, err
	}
	defer response.Body.Close()
	raw, release, err := ReadDocument(ctx, response.Body, response.ContentLength, MaxManifestBytes, reserve)
	switch {
	case ctx.Err() != nil && err != nil:
		return Manifest{}, ctx.Err()
	case err != nil:
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	digest, _, _ := v1.SHA256(bytes.NewReader(raw)) // fails only for a reader that does
	if !asked.byTag() && digest.String() != identifier {
		release()
		return Manifest{}, fmt.Errorf("%w: the manifest %s has the digest %s", ErrMalformed, identifier, digest)
	}
	mediaType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return Manifest{raw, release, digest, types.MediaType(strings.TrimSpace(mediaType))}, nil
}

// Blob opens a blob. Its content is not verified. Reads end when ctx does.
func (s *Session) Blob(ctx context.Context, digest v1.Hash) (io.ReadCloser, error) {
	return startDownload(ctx, func(offset int64) (*http.Response, error) {
		var header http.Header
		if offset > 0 {
			header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", offset)}}
		}
		return s.get(ctx, resource{blobs, digest.String()}, header)
	})
}

// BlobRange opens the bytes from start to end, exclusive, of a blob. Its content
// is not verified. It fails if the registry does not serve ranges. Reads end
// when ctx does.
func (s *Session) BlobRange(ctx context.Context, d v1.Descriptor, start, end int64) (io.ReadCloser, error) {
	if start < 0 || start >= end || end > d.Size {
		return nil, fmt.Errorf("%w: the bytes %d to %d of %d", ErrMalformed, start, end, d.Size)
	}
	body, err := startDownload(ctx, func(offset int64) (*http.Response, error) {
		want := fmt.Sprintf("%d-%d", start+offset, end-1)
		response, err := s.get(ctx, resource{blobs, d.Digest.String()}, http.Header{"Range": {"bytes=" + want}})
		if err != nil {
			return nil, err
		}
		got := response.Header.Get("Content-Range")
		if response.StatusCode != http.StatusPartialContent || got != fmt.Sprintf("bytes %s/%d", want, d.Size) {
			_ = response.Body.Close()
			return nil, fmt.Errorf("the registry answers a request for the bytes %s of %d with %q and status %d", want, d.Size, got,
				response.StatusCode)
		}
		return response, nil
	})
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, end-start), body}, nil
}
