package imagescan

import (
	"context"
	"sync"
)

// flights let any number of callers wait for work that one of them does.
type flights[K comparable, V any] struct {
	mu      sync.Mutex
	running map[K]*flight[V]
}

// flight is work under way.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error

	// early is closed when soon holds a value that may be used before the
	// work is done.
	early chan struct{}
	once  sync.Once
	soon  V

	// ticket is its place among those that wait to start.
	ticket ticket
}

func newFlights[K comparable, V any]() *flights[K, V] {
	return &flights[K, V]{running: map[K]*flight[V]{}}
}

// join returns the flight of k. known is asked first, and may save the flight:
// nothing lands between its answer and a new flight's start. started says that
// the caller has to see to it that the flight lands.
func (s *flights[K, V]) join(k K, known func() (V, bool)) (f *flight[V], started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := known(); ok {
		f := newFlight[V]()
		f.value = v
		close(f.done)
		return f, false
	}
	if f, ok := s.running[k]; ok {
		return f, false
	}
	f = newFlight[V]()
	s.running[k] = f
	return f, true
}

func newFlight[V any]() *flight[V] {
	return &flight[V]{done: make(chan struct{}), early: make(chan struct{})}
}

// land ends the flight of k; keep is called before anyone can ask again.
func (s *flights[K, V]) land(k K, f *flight[V], keep func(V)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, k)
	if f.err == nil {
		keep(f.value)
	}
	close(f.done)
}

// announce makes a value known before the flight lands.
func (f *flight[V]) announce(v V) {
	f.once.Do(func() {
		f.soon = v
		close(f.early)
	})
}

// landed reports whether the work is done.
func (f *flight[V]) landed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// wait returns what the flight came to, or why ctx ended. With early, what was
// announced will do.
func (f *flight[V]) wait(ctx context.Context, early bool) (V, error) {
	announced := f.early
	if !early {
		announced = nil
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-announced:
		return f.soon, nil
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}
