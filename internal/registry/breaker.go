package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sony/gobreaker/v2"
)

const (
	// breakerFailures is the number of consecutive failures that opens a circuit
	// breaker.
	breakerFailures = 5
	// breakerTimeout is the time that an open breaker refuses requests.
	breakerTimeout = 20 * time.Second
	// breakerPatience is the time that a request must have waited before the end of
	// its own deadline counts as a failure.
	breakerPatience = time.Second
	// maxBreakers bounds the circuit breakers of hosts, and those of repositories.
	maxBreakers = 1024
)

// errBreakerOpen reports a request that was not sent because of an open breaker.
var errBreakerOpen = errors.New("the host does not answer, and gets no requests for a while")

// errNotTried is the outcome of a request that proves neither success nor failure.
var errNotTried = errors.New("not tried")

// breaker holds circuit breakers of two kinds. A host's counts connections that
// could not be opened. A repository's counts requests without an answer: the
// owner of a repository, or of a registry that redirects to another host, may be
// able to make them hang, and must not cut other repositories of the host off.
//
// No status counts as a failure: the author of one Pod can make a registry answer
// 500 for an image of their own.
type breaker struct {
	next                http.RoundTripper
	hosts, repositories *lru.Cache[breakerKey, *circuit]
}

// breakerKey is a hash: registries choose the addresses that they redirect to.
type breakerKey [sha256.Size]byte

type circuit = gobreaker.TwoStepCircuitBreaker[*http.Response]

func newBreaker(next http.RoundTripper) *breaker {
	// The only error is for a size that is not positive.
	hosts, _ := lru.New[breakerKey, *circuit](maxBreakers)
	repositories, _ := lru.New[breakerKey, *circuit](maxBreakers)
	return &breaker{next, hosts, repositories}
}

func (b *breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	repository, err := allow(b.repositories, r, r.URL.Host, repositoryOf(r))
	if err != nil {
		return nil, err
	}
	host, err := allow(b.hosts, r, r.URL.Host)
	if err != nil {
		repository(errNotTried)
		return nil, err
	}
	// The first outcome counts: a connection, before its answer or the want of one.
	var connection sync.Once
	connected := func(failure error) (first bool) {
		connection.Do(func() {
			first = true
			host(failure)
		})
		return first
	}
	traced := r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected(nil) },
	}))
	start := time.Now()
	response, err := b.next.RoundTrip(traced)
	failure := err
	switch {
	case err == nil, permanent(err): // a host without TLS, or with a wrong certificate, does answer
		failure = nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && time.Since(start) < breakerPatience:
		failure = errNotTried
	}
	if connected(failure) && failure != nil {
		failure = errNotTried
	}
	repository(failure)
	return response, err
}

// allow returns the function that receives the outcome of a request, or an error
// if the breaker with the key is open.
func allow(circuits *lru.Cache[breakerKey, *circuit], r *http.Request, key ...string) (done func(error), _ error) {
	k := breakerKey(sha256.Sum256([]byte(strings.Join(key, "\n"))))
	c, ok := circuits.Get(k)
	if !ok {
		c = gobreaker.NewTwoStepCircuitBreaker[*http.Response](gobreaker.Settings{ //nolint:bodyclose // no response yet
			Timeout:     breakerTimeout,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			IsExcluded:  func(err error) bool { return errors.Is(err, errNotTried) },
		})
		if existing, found, _ := circuits.PeekOrAdd(k, c); found {
			c = existing
		}
	}
	done, err := c.Allow()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errBreakerOpen, r.URL.Host)
	}
	return done, nil
}

// repositoryOf names the repository of a request, of the first one in a chain of
// redirects. Other requests, such as those for tokens, have their path instead.
func repositoryOf(r *http.Request) string {
	for r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
	}
	path := r.URL.Path
	for _, kind := range []string{manifests, blobs} {
		if before, _, ok := strings.Cut(path, "/"+kind+"/"); ok {
			path = before
			break
		}
	}
	return r.URL.Host + path + "?" + r.URL.Query().Get("scope")
}
