package imagescan

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
)

// session reads one repository of a registry with one credential.
type session struct {
	repository name.Repository
	client     *http.Client
	stall      time.Duration // how long a blob may stand still
}

// accepted are the media types of manifests that are asked for.
var accepted = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ",")

// open finds out how the registry wants to be spoken to, and gets a token where
// it wants one.
func (s *Scanner) open(ctx context.Context, repository name.Repository, auth authn.Authenticator) (*session, error) {
	base := transport.NewUserAgent(s.transport, s.options.UserAgent)
	authenticated, err := transport.NewWithContext(ctx, repository.Registry, auth, base, []string{repository.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	return &session{repository, &http.Client{Transport: authenticated}, s.options.Limits.StallTime}, nil
}

// get asks for one thing of the repository. Its errors say the status.
func (s *session) get(ctx context.Context, what, identifier string, header http.Header) (*http.Response, error) {
	u := url.URL{
		Scheme: s.repository.Scheme(), Host: s.repository.RegistryStr(),
		Path: fmt.Sprintf("/v2/%s/%s/%s", s.repository.RepositoryStr(), what, identifier),
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		request.Header[key] = values
	}
	response, err := s.client.Do(request)
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
	response, err := s.get(ctx, "manifests", identifier, http.Header{"Accept": {accepted}})
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
		return s.get(ctx, "blobs", digest.String(), header)
	}
	response, err := ask(ctx, 0)
	if err != nil {
		return nil, err
	}
	return &download{ctx: ctx, ask: ask, body: response.Body, stall: s.stall}, nil
}

// digestOf returns the digest of bytes: sha256, which is all that registries and
// runtimes use.
func digestOf(content []byte) (v1.Hash, error) {
	digest, _, err := v1.SHA256(bytes.NewReader(content))
	return digest, err
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
