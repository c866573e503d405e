package registry

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestBreaker: a host that does not answer gets no requests for a while; others do.
func TestBreaker(t *testing.T) {
	down := errors.New("connection refused")
	requests := map[string]int{}
	b := newBreaker(roundTripper(func(r *http.Request) (*http.Response, error) {
		requests[r.URL.Host]++
		switch r.URL.Host {
		case "down":
			return nil, down
		case "plain": // as http.Transport says of a server without TLS
			return nil, fmt.Errorf("get: %w", http.ErrSchemeMismatch)
		}
		return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}, nil
	}))
	for range 2 * breakerFailures {
		for _, host := range []string{"down", "trouble", "plain"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := b.RoundTrip(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if host == "down" && !errors.Is(err, down) && !errors.Is(err, errBreakerOpen) || host == "trouble" && err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"down": breakerFailures, "trouble": 2 * breakerFailures, "plain": 2 * breakerFailures},
		requests); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": -1, "5": 5 * time.Second, "0": 0, "-1": -1, "soon": -1, "99999999999999": -1,
		"Thu, 01 Jan 2026 00:00:07 GMT": 7 * time.Second, "Wed, 31 Dec 2025 00:00:00 GMT": 0,
	} {
		got, ok := retryAfter(&http.Response{Header: http.Header{"Retry-After": {value}}}, now)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
