package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Retries are few and short: an admission request waits.
const (
	maxAttempts = 4
	// firstBackoff doubles with each attempt.
	firstBackoff = 200 * time.Millisecond
	// maxRetryAfter is the longest Retry-After that is honoured.
	maxRetryAfter = time.Minute
	// drainBytes is the most of a discarded answer that is read to keep its
	// connection usable.
	drainBytes = 64 << 10
)

// retrier repeats requests that failed for a temporary reason: no connection, a
// server error, or a rate limit. It gives up at once if the context's deadline
// comes before the next attempt.
type retrier struct{ next http.RoundTripper }

func (t retrier) RoundTrip(r *http.Request) (*http.Response, error) {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		response, err := t.next.RoundTrip(r)
		if attempt == maxAttempts || r.Body != nil || !temporary(r.Context(), response, err) {
			return response, err
		}
		pause := backoff + time.Duration(rand.Int64N(int64(backoff/4))) //nolint:gosec // jitter
		backoff *= 2
		if requested, ok := retryAfter(response, time.Now()); ok {
			pause = requested
		}
		if deadline, ok := r.Context().Deadline(); pause > maxRetryAfter || ok && time.Until(deadline) <= pause {
			return response, err
		}
		if response != nil {
			_, err = io.CopyN(io.Discard, response.Body, drainBytes)
			_ = response.Body.Close()
			if errors.Is(err, errStalled) {
				return nil, err
			}
		}
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// temporary reports whether the next attempt may succeed.
func temporary(ctx context.Context, response *http.Response, err error) bool {
	if err != nil {
		return ctx.Err() == nil && !permanent(err)
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// permanent reports whether an error will recur: capvet's own refusal, an unknown
// host, or a server without TLS or with a wrong certificate.
func permanent(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	return errors.Is(err, ErrBlocked) || errors.Is(err, errRedirects) || errors.Is(err, http.ErrSchemeMismatch) ||
		errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &dns) && dns.IsNotFound
}

// retryAfter parses the header Retry-After, in seconds or as a date (RFC 9110,
// section 10.2.3).
func retryAfter(response *http.Response, now time.Time) (time.Duration, bool) {
	if response == nil {
		return 0, false
	}
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}
