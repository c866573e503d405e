package imagescan

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
	firstWait   = 200 * time.Millisecond
	// maxRetryAfter is the longest that a registry may ask to wait.
	maxRetryAfter = time.Minute
	// drainBytes is how much of a refused answer is read, to use its connection
	// again.
	drainBytes = 64 << 10
)

// retrier asks again what fails for a moment: where no connection came about,
// where the server is in trouble, and where it says when to come back. It gives
// up at once when there is no time left for it.
type retrier struct{ next http.RoundTripper }

func (t retrier) RoundTrip(r *http.Request) (*http.Response, error) {
	wait := firstWait
	for attempt := 1; ; attempt++ {
		response, err := t.next.RoundTrip(r)
		if attempt == maxAttempts || r.Body != nil || !passing(r.Context(), response, err) {
			return response, err
		}
		pause := wait + time.Duration(rand.Int64N(int64(wait/4))) //nolint:gosec // so that not all come back at once
		wait *= 2
		if asked, ok := retryAfter(response, time.Now()); ok {
			pause = asked
		}
		if deadline, ok := r.Context().Deadline(); pause > maxRetryAfter || ok && time.Until(deadline) <= pause {
			return response, err
		}
		if response != nil {
			_, _ = io.CopyN(io.Discard, response.Body, drainBytes)
			_ = response.Body.Close()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-r.Context().Done():
			timer.Stop()
			return nil, r.Context().Err()
		}
	}
}

// passing reports whether the next attempt may fare better.
func passing(ctx context.Context, response *http.Response, err error) bool {
	if err != nil {
		return ctx.Err() == nil && !lasting(err)
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// lasting reports whether an error is sure to come again: a refusal of this
// side's own, or a server that does not speak TLS, or not as whom it should.
func lasting(err error) bool {
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	return errors.Is(err, errBlocked) || errors.Is(err, errRedirects) || errors.Is(err, http.ErrSchemeMismatch) ||
		errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &dns) && dns.IsNotFound
}

// retryAfter reads the header Retry-After, in seconds or as a date.
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
