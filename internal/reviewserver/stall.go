package reviewserver

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// Times for AnsweringChecker. A Reviewer answers by its deadline, so either is long.
const (
	// NotReadyAfter takes the process out of the endpoints of its Service.
	NotReadyAfter = 10 * time.Second
	// NotAliveAfter restarts it.
	NotAliveAfter = time.Minute
)

// watch notices that the Reviewer no longer answers.
type watch struct {
	mu        sync.Mutex
	deadlines map[*time.Time]struct{} // of the reviews that are being judged
	answered  time.Time               // the last one
}

// start notes a review with a deadline. The caller calls done after the Reviewer's answer.
func (w *watch) start(deadline time.Time) (done func()) {
	key := &deadline
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadlines == nil {
		w.deadlines = map[*time.Time]struct{}{}
	}
	w.deadlines[key] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.deadlines, key)
		w.answered = time.Now()
	}
}

// stalled returns an error if a review is this long past its deadline and no other one
// has been answered since that deadline: a single review that hangs is no stall.
func (w *watch) stalled(now time.Time, after time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for deadline := range w.deadlines {
		if late := now.Sub(*deadline); late > after && w.answered.Before(*deadline) {
			return fmt.Errorf("stalled: a review is %s past its deadline, and none has been answered since", late.Round(time.Second))
		}
	}
	return nil
}

// AnsweringChecker returns a check that fails if a review is this long past its deadline
// and none has been answered since. A client that sends slowly does not count.
func (s *Server) AnsweringChecker(after time.Duration) healthz.Checker {
	return func(*http.Request) error { return s.watch.stalled(time.Now(), after) }
}
