package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sony/gobreaker/v2"
)

const (
	// breakerFailures is the number of consecutive requests without an answer
	// that opens a host's circuit breaker.
	breakerFailures = 5
	// breakerTimeout is the time that an open breaker refuses requests.
	breakerTimeout = 20 * time.Second
	// maxBreakers bounds the hosts with a breaker.
	maxBreakers = 1024
)

// errBreakerOpen reports a request that was not sent because of an open breaker.
var errBreakerOpen = errors.New("the host does not answer, and gets no requests for a while")

// breaker is a circuit breaker for each host. Only a missing answer counts as a
// failure, no status does: the author of one Pod can make a registry answer 500
// for an image of their own, and must not cut off other Pods.
type breaker struct {
	next  http.RoundTripper
	hosts *lru.Cache[string, *gobreaker.CircuitBreaker[*http.Response]]
}

func newBreaker(next http.RoundTripper) *breaker {
	// The only error is for a size that is not positive.
	hosts, _ := lru.New[string, *gobreaker.CircuitBreaker[*http.Response]](maxBreakers) //nolint:bodyclose // no response yet
	return &breaker{next, hosts}
}

func (b *breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	host, ok := b.hosts.Get(r.URL.Host)
	if !ok {
		host = gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
			Timeout:     breakerTimeout,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			IsSuccessful: func(err error) bool {
				// A host without TLS, or with a wrong certificate, does answer.
				return err == nil || errors.Is(err, context.Canceled) || permanent(err)
			},
		})
		if existing, found, _ := b.hosts.PeekOrAdd(r.URL.Host, host); found {
			host = existing
		}
	}
	response, err := host.Execute(func() (*http.Response, error) { return b.next.RoundTrip(r) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return nil, fmt.Errorf("%w: %s", errBreakerOpen, r.URL.Host)
	}
	return response, err
}
