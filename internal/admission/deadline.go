package admission

import (
	"context"
	"net/http"
	"time"
)

const (
	// DefaultTimeout holds when a request does not say how long its sender
	// waits. It is the API server's own default for a webhook.
	DefaultTimeout = 10 * time.Second
	// maxTimeout is the longest that the API server accepts in a webhook's
	// timeoutSeconds.
	maxTimeout = 30 * time.Second
	// ReplyReserve is the time kept for wording and sending the answer.
	ReplyReserve = 500 * time.Millisecond
)

// WithDeadline gives each request's context the deadline by which its answer
// must be ready: what the API server says in the query as timeout (for example
// ?timeout=10s), less ReplyReserve. controller-runtime does not look at it.
func WithDeadline(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
		if err != nil || timeout <= 0 {
			timeout = DefaultTimeout
		}
		timeout = min(timeout, maxTimeout)
		// A short timeout is halved rather than used up by the reserve.
		ctx, cancel := context.WithTimeout(r.Context(), max(timeout-ReplyReserve, timeout/2))
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
