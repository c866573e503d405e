package reviewserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// TestStalled: a Reviewer that no longer answers is noticed, one review that hangs among others is
// no stall, and the next answer ends a stall.
func TestStalled(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	h := newHandler(t, Options{}, func(_ context.Context, req Request) admission.Response {
		if req.Name == "hangs" {
			asked <- struct{}{}
			<-answer
		}
		return admission.Allowed("")
	})
	ask := func(name string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/?timeout=1ms",
			strings.NewReader(strings.Replace(aReview, `"name":"a"`, `"name":"`+name+`"`, 1)))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	check := func(after time.Duration, want bool) {
		t.Helper()
		if err := h.server.watch.stalled(time.Now().Add(after), NotReadyAfter); (err != nil) != want {
			t.Errorf("%v later: %v", after, err)
		}
	}
	check(time.Hour, false)
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		ask("hangs")
	}()
	<-asked
	check(0, false)
	check(NotReadyAfter+time.Minute, true)
	if err := h.server.AnsweringChecker(-time.Hour)(nil); err == nil || !strings.Contains(err.Error(), "stalled") {
		t.Error(err)
	}
	time.Sleep(10 * time.Millisecond) // beyond the deadline of the one that hangs
	ask("answered")
	check(time.Hour, false)
	close(answer)
	<-hung
	check(time.Hour, false)
}

// TestStartedChecker: the server is ready when it answers a request, and not when its port alone
// is open.
func TestStartedChecker(t *testing.T) {
	s := newServer(t, roomy(), allow).start(t)
	check := func() error {
		return s.checkAnswers(t.Context(), s.address)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := check(); err == nil {
		t.Error("a stopped server is ready")
	}
}
