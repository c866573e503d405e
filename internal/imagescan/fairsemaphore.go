package imagescan

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
)

// fairSemaphore is a weighted semaphore with a queue per owner. The next grant
// goes to the waiting owner that holds least; among equals, to the one whose
// last grant, release or arrival is longest ago. However much one owner requests,
// another waits for at most one grant of each.
//
// Only the next waiter is ever granted: smaller requests do not overtake a large
// one, which could otherwise wait for ever.
type fairSemaphore struct {
	// size is the total weight. reserve is the part of it that owners with a
	// grant leave free for owners without.
	size, reserve int64
	// maxWaiting bounds the queued requests. Beyond it, the last request of the
	// longest queue is rejected.
	maxWaiting int

	mu      sync.Mutex
	held    int64
	waiting int
	owners  map[string]*owner // with a grant or a waiter
	clock   int64             // counts arrivals, grants and releases
}

type owner struct {
	name  string
	held  int64
	queue []*waiter
	last  int64 // clock of its last arrival, grant or release
}

// waiter is a request, in the queues of one or several owners. The zero value is
// in no queue.
type waiter struct {
	n       int64
	owners  []*owner // with the waiter in their queues
	holder  *owner   // charged for the grant
	err     error    // of a rejection
	done    chan struct{}
	settled bool // granted, rejected or cancelled
}

// newFairSemaphore returns a semaphore. maxWaiting 0 means no bound.
func newFairSemaphore(size, reserve int64, maxWaiting int) *fairSemaphore {
	return &fairSemaphore{size: size, reserve: reserve, maxWaiting: cmp.Or(maxWaiting, math.MaxInt), owners: map[string]*owner{}}
}

// enqueue adds a waiter for weight n to an owner's queue, besides the queues
// that it is in. It ignores a settled waiter.
func (f *fairSemaphore) enqueue(w *waiter, name string, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.settled || slices.ContainsFunc(w.owners, func(o *owner) bool { return o.name == name }) {
		return
	}
	if w.done == nil {
		w.n, w.done = max(1, min(n, f.size)), make(chan struct{})
	}
	o := f.owners[name]
	if o == nil {
		o = &owner{name: name}
		f.owners[name] = o
		f.touch(o)
	}
	o.queue, w.owners = append(o.queue, w), append(w.owners, o)
	if f.waiting++; f.waiting > f.maxWaiting {
		f.rejectLast()
	}
	f.grant()
}

// rejectLast removes the last waiter of the longest queue.
func (f *fairSemaphore) rejectLast() {
	var longest *owner
	for _, o := range f.owners {
		if longest == nil || len(o.queue) > len(longest.queue) || len(o.queue) == len(longest.queue) && o.last > longest.last {
			longest = o
		}
	}
	w := longest.queue[len(longest.queue)-1]
	f.dequeue(w, longest)
	if len(w.owners) == 0 {
		f.settle(w, fmt.Errorf("%w: %d do already", errBusy, f.maxWaiting))
	}
}

// dequeue removes a waiter from one owner's queue.
func (f *fairSemaphore) dequeue(w *waiter, o *owner) {
	o.queue = slices.DeleteFunc(o.queue, func(other *waiter) bool { return other == w })
	w.owners = slices.DeleteFunc(w.owners, func(other *owner) bool { return other == o })
	f.waiting--
	f.prune(o)
}

// prune deletes an owner without a grant or a waiter.
func (f *fairSemaphore) prune(o *owner) {
	if o.held == 0 && len(o.queue) == 0 {
		delete(f.owners, o.name)
	}
}

// settle ends the wait of a waiter.
func (f *fairSemaphore) settle(w *waiter, err error) {
	for len(w.owners) > 0 {
		f.dequeue(w, w.owners[0])
	}
	w.err, w.settled = err, true
	close(w.done)
}

// grant serves waiters in order while the free weight suffices.
func (f *fairSemaphore) grant() {
	for {
		o := f.next()
		if o == nil {
			return
		}
		w := o.queue[0]
		free := f.size - f.held
		if o.held > 0 {
			free -= f.reserve
		}
		if w.n > free {
			return
		}
		f.touch(o)
		o.held += w.n
		f.held += w.n
		w.holder = o
		f.settle(w, nil)
	}
}

// touch moves an owner behind those that hold as much.
func (f *fairSemaphore) touch(o *owner) {
	f.clock++
	o.last = f.clock
}

// next returns the waiting owner to serve next; nil if no owner waits.
func (f *fairSemaphore) next() *owner {
	var next *owner
	for _, o := range f.owners {
		if len(o.queue) > 0 && (next == nil || o.held < next.held || o.held == next.held && o.last < next.last) {
			next = o
		}
	}
	return next
}

// wait waits for the grant of an enqueued waiter, and returns the name of the
// owner that holds it. release returns the weight.
func (f *fairSemaphore) wait(ctx context.Context, w *waiter) (holder string, release func(), err error) {
	select {
	case <-w.done:
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		if !w.settled {
			f.settle(w, ctx.Err())
			f.grant() // the next waiter may be small enough
		}
	}
	if w.err != nil {
		return "", nil, w.err
	}
	return w.holder.name, func() { f.release(w) }, nil
}

// Acquire acquires weight n for ctx's owner. It implements layers.Budget.
func (f *fairSemaphore) Acquire(ctx context.Context, n int64) (release func(), err error) {
	var w waiter
	name, _ := ctx.Value(ownerKey{}).(string)
	f.enqueue(&w, name, n)
	_, release, err = f.wait(ctx, &w)
	return release, err
}

func (f *fairSemaphore) release(w *waiter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.holder.held -= w.n
	f.held -= w.n
	f.touch(w.holder)
	f.prune(w.holder)
	f.grant()
}

// load returns the held weight and the number of waiters.
func (f *fairSemaphore) load() (held int64, waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held, f.waiting
}

type ownerKey struct{}

// withOwner returns a context whose acquisitions are charged to an owner.
func withOwner(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, ownerKey{}, name)
}
