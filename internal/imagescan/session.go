package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

	"github.com/capvet/capvet/internal/imagefs"
)

// session reads one repository of a registry with one credential.
type session struct {
	repository name.Repository
	places     []*place
	pace       pace // of blobs
}

// place is an endpoint as one session speaks to it.
type place struct {
	endpoint
	agent string
	auth  authn.Authenticator

	connecting *semaphore.Weighted // of one: whoever waits may run out of time
	client     *http.Client
	silent     atomic.Bool // it did not answer: the others are asked
}

// accepted are the media types of manifests that are asked for.
var accepted = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ",")

// open returns a session with a repository. Nothing is asked yet.
func (s *Scanner) open(repository name.Repository, auth authn.Authenticator) *session {
	opened := &session{repository: repository, pace: pace{s.options.Limits.StallBytes, s.options.Limits.StallTime}}
	for _, e := range s.options.Hosts.of(repository.Registry, s.transport, allowsPlain(s.options.PlainHTTP, repository.RegistryStr())) {
		p := &place{endpoint: e, agent: s.options.UserAgent, auth: auth, connecting: semaphore.NewWeighted(1)}
		if e.mirror {
			p.auth = authn.Anonymous // credentials are not for other hosts
		}
		opened.places = append(opened.places, p)
	}
	return opened
}

// connect finds out how a host wants to be spoken to, and gets a token where it
// wants one.
func (p *place) connect(ctx context.Context, repository name.Repository) (*http.Client, error) {
	if err := p.connecting.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer p.connecting.Release(1)
	if p.client != nil {
		return p.client, nil
	}
	base := transport.NewUserAgent(withoutTLS{p.plain, p.base.Host, p.transport}, p.agent)
	if p.bare {
		p.client = &http.Client{Transport: base}
		return p.client, nil
	}
	scope := p.registry.Repo(repository.RepositoryStr()).Scope(transport.PullScope)
	authenticated, err := transport.NewWithContext(ctx, p.registry, p.auth, base, []string{scope})
	if err != nil {
		return nil, err
	}
	p.client = &http.Client{Transport: authenticated}
	return p.client, nil
}

// withoutTLS keeps a plain host from being tried with TLS first, as
// go-containerregistry would.
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

// get asks for one thing of the repository, of each place that may be asked
// until one has it. byTag says that it is not named by its digest. The error is
// that of the last, which is the registry.
func (s *session) get(ctx context.Context, byTag bool, what, identifier string, header http.Header) (*http.Response, error) {
	err := errNoHost
	for i, p := range s.places {
		if byTag && !p.resolve || !byTag && !p.pull || p.silent.Load() && i < len(s.places)-1 {
			continue
		}
		var response *http.Response
		if response, err = s.ask(ctx, p, what, identifier, header); err == nil {
			return response, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		var answered *transport.Error
		if !errors.As(err, &answered) {
			p.silent.Store(true)
		}
	}
	return nil, err
}

// errNoHost says that a hosts.toml leaves nobody to ask.
var errNoHost = errors.New("no host is configured that may be asked for it")

// ask asks one place. Its errors say the status.
func (s *session) ask(ctx context.Context, p *place, what, identifier string, header http.Header) (*http.Response, error) {
	client, err := p.connect(ctx, s.repository)
	if err != nil {
		return nil, err
	}
	u := p.base
	u.Path += "/" + s.repository.RepositoryStr() + "/" + what + "/" + identifier
	if p.mirror {
		u.RawQuery = url.Values{"ns": {s.repository.RegistryStr()}}.Encode() // as containerd tells a mirror of many
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for _, values := range []http.Header{p.header, header} {
		for key, value := range values {
			request.Header[key] = value
		}
	}
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

// named returns the manifest under a tag or digest.
func (s *session) named(ctx context.Context, identifier string) (document, error) {
	byTag := !strings.Contains(identifier, ":")                                                    // no tag has a colon, every digest does
	response, err := s.get(ctx, byTag, "manifests", identifier, http.Header{"Accept": {accepted}}) //nolint:bodyclose // readAll closes it
	if err != nil {
		return document{}, err
	}
	raw, err := readAll(ctx, response.Body, maxManifestBytes)
	if err != nil {
		return document{}, fmt.Errorf("manifest: %w", err)
	}
	digest, err := digestOf(raw)
	if err != nil {
		return document{}, err
	}
	mediaType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	return document{raw, digest, types.MediaType(strings.TrimSpace(mediaType))}, nil
}

// manifest implements source.
func (s *session) manifest(ctx context.Context, digest v1.Hash) (document, error) {
	d, err := s.named(ctx, digest.String())
	if err == nil && d.digest != digest {
		return document{}, fmt.Errorf("%w: the manifest %s has the digest %s", imagefs.ErrMalformed, digest, d.digest)
	}
	return d, err
}

// blob implements source.
func (s *session) blob(ctx context.Context, digest v1.Hash) (io.ReadCloser, error) {
	ask := func(ctx context.Context, from int64) (*http.Response, error) {
		var header http.Header
		if from > 0 {
			header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", from)}}
		}
		return s.get(ctx, false, "blobs", digest.String(), header)
	}
	response, err := ask(ctx, 0) //nolint:bodyclose // the download closes it
	if err != nil {
		return nil, err
	}
	return &download{ctx: ctx, ask: ask, body: response.Body, pace: s.pace}, nil
}

// digestOf returns the digest of bytes: sha256, which is all that registries and
// runtimes use.
func digestOf(content []byte) (v1.Hash, error) {
	digest, _, err := v1.SHA256(bytes.NewReader(content))
	return digest, err
}

// requestRules adds what holds for every request to a transport.
func requestRules(next http.RoundTripper) http.RoundTripper {
	return smallBodies{newBreaker(retrier{next})}
}

// smallBodies bounds every answer but blobs, which have limits of their own.
type smallBodies struct{ next http.RoundTripper }

func (t smallBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	first := r // a redirect may lead to any path
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	if err == nil && !strings.Contains(first.URL.Path, "/blobs/") {
		response.Body = &boundedBody{response.Body, maxManifestBytes + 1}
	}
	return response, err
}

// boundedBody ends with an error past its limit.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, fmt.Errorf("%w: the answer has more than %d bytes", imagefs.ErrTooLarge, maxManifestBytes)
	}
	return n, err
}
