package imagescan

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
	// breakAfter is how many requests in a row a host may leave without any
	// answer before it is left alone.
	breakAfter = 5
	// breakTime is for how long.
	breakTime = 20 * time.Second
	// maxBreakers bounds the hosts that are kept account of.
	maxBreakers = 1024
)

// errBroken says that a host was not asked.
var errBroken = errors.New("the host does not answer, and is not asked for a while")

// breaker leaves hosts alone that do not answer. Answers of any status count as
// such: a Pod's author can bring a registry to answer 500 to what nobody else
// asks for, and is not to keep others from it.
type breaker struct {
	next  http.RoundTripper
	hosts *lru.Cache[string, *gobreaker.CircuitBreaker[*http.Response]]
}

func newBreaker(next http.RoundTripper) *breaker {
	hosts, err := lru.New[string, *gobreaker.CircuitBreaker[*http.Response]](maxBreakers) //nolint:bodyclose // there is none yet
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &breaker{next, hosts}
}

func (b *breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	of, ok := b.hosts.Get(r.URL.Host)
	if !ok {
		of = gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
			Timeout:     breakTime,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
			IsSuccessful: func(err error) bool {
				// A host that speaks no TLS, or not as it should, is there.
				return err == nil || errors.Is(err, context.Canceled) || lasting(err)
			},
		})
		if known, there, _ := b.hosts.PeekOrAdd(r.URL.Host, of); there {
			of = known
		}
	}
	response, err := of.Execute(func() (*http.Response, error) { return b.next.RoundTrip(r) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return nil, fmt.Errorf("%w: %s", errBroken, r.URL.Host)
	}
	return response, err
}
