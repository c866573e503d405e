package admission

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestWithDeadline(t *testing.T) {
	for _, tt := range []struct {
		query string
		want  time.Duration
	}{
		{"?timeout=10s", 10*time.Second - ReplyReserve},
		{"", DefaultTimeout - ReplyReserve},
		{"?timeout=nonsense", DefaultTimeout - ReplyReserve},
		{"?timeout=-1s", DefaultTimeout - ReplyReserve},
		{"?timeout=1000h", maxTimeout - ReplyReserve},
		{"?timeout=600ms", 300 * time.Millisecond},
	} {
		t.Run(tt.query, func(t *testing.T) {
			before := time.Now()
			WithDeadline(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				deadline, ok := r.Context().Deadline()
				// It was set after before and ahead of now, however slow this is.
				if !ok || deadline.Sub(before) < tt.want || time.Until(deadline) > tt.want {
					t.Errorf("deadline in %v, want %v", time.Until(deadline), tt.want)
				}
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/validate-pods"+tt.query, nil))
		})
	}
}
