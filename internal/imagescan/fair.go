package imagescan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// errBusy is the answer to who would have to wait behind too many.
var errBusy = errors.New("too many images wait to be read")

// fair hands out parts of something scarce, to owners. Those who wait are served
// by turns: the owner that holds least first, among equals the one that came, got
// something or gave it back longest ago, and each owner's in the order in which
// they came. So however much one owner asks for, another waits for one turn of
// each at most.
//
// A part is given only to who is first. What is too large for what is free at
// the moment is not overtaken, or it might wait for ever.
type fair struct {
	// size is what there is. Of it, reserve is kept from owners that hold
	// something already: who holds nothing yet finds some free.
	size, reserve int64
	// room is how many may wait. Beyond it, the last of the owner with the most
	// in wait is turned away.
	room int

	mu      sync.Mutex
	held    int64
	waiting int
	owners  map[string]*owner // those that hold something or wait
	turns   int64
}

type owner struct {
	name  string
	held  int64
	queue []*ticket
	turn  int64 // when it came, got something or gave it back, whichever was last
}

// ticket is a place in the queue, in one or several owners' names. The zero
// value is in no queue.
type ticket struct {
	n      int64
	owners []*owner // in whose queues it is
	by     *owner   // in whose name it was served
	err    error    // why it was turned away
	over   chan struct{}
	isOver bool
}

// newFair bounds how many wait; 0: not at all.
func newFair(size, reserve int64, room int) *fair {
	if room == 0 {
		room = math.MaxInt
	}
	return &fair{size: size, reserve: reserve, room: room, owners: map[string]*owner{}}
}

// ask queues a ticket for n in an owner's name, besides others that it may wait
// for already. It does nothing for a ticket that waits no more.
func (f *fair) ask(t *ticket, name string, n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.over == nil {
		t.n, t.over = max(1, min(n, f.size)), make(chan struct{})
	}
	if t.isOver || slices.ContainsFunc(t.owners, func(o *owner) bool { return o.name == name }) {
		return
	}
	o := f.owners[name]
	if o == nil {
		o = &owner{name: name}
		f.owners[name] = o
		f.turn(o)
	}
	o.queue, t.owners = append(o.queue, t), append(t.owners, o)
	if f.waiting++; f.waiting > f.room {
		f.turnAway()
	}
	f.serve()
}

// turnAway takes the last ticket out of the longest queue.
func (f *fair) turnAway() {
	var longest *owner
	for _, o := range f.owners {
		if longest == nil || len(o.queue) > len(longest.queue) || len(o.queue) == len(longest.queue) && o.turn > longest.turn {
			longest = o
		}
	}
	t := longest.queue[len(longest.queue)-1]
	f.leave(t, longest)
	if len(t.owners) == 0 {
		t.end(fmt.Errorf("%w: %d do already", errBusy, f.room))
	}
}

// leave takes a ticket out of one owner's queue.
func (f *fair) leave(t *ticket, o *owner) {
	is := func(other *ticket) bool { return other == t }
	o.queue = slices.DeleteFunc(o.queue, is)
	t.owners = slices.DeleteFunc(t.owners, func(other *owner) bool { return other == o })
	f.waiting--
	f.forget(o)
}

// forget lets go of an owner that there is nothing to know of.
func (f *fair) forget(o *owner) {
	if o.held == 0 && len(o.queue) == 0 {
		delete(f.owners, o.name)
	}
}

// end closes a ticket, which is in no queue.
func (t *ticket) end(err error) {
	t.err, t.isOver = err, true
	close(t.over)
}

// serve gives parts to those who are first, while there is enough.
func (f *fair) serve() {
	for {
		o := f.first()
		if o == nil {
			return
		}
		t := o.queue[0]
		free := f.size - f.held
		if o.held > 0 {
			free -= f.reserve
		}
		if t.n > free {
			return
		}
		f.turn(o)
		o.held += t.n
		f.held += t.n
		for len(t.owners) > 0 {
			f.leave(t, t.owners[0])
		}
		t.by = o
		t.end(nil)
	}
}

// turn puts an owner behind those that hold as much.
func (f *fair) turn(o *owner) {
	f.turns++
	o.turn = f.turns
}

// first returns the owner whose turn it is; nil if nobody waits.
func (f *fair) first() *owner {
	var first *owner
	for _, o := range f.owners {
		if len(o.queue) == 0 {
			continue
		}
		if first == nil || o.held < first.held || o.held == first.held && o.turn < first.turn {
			first = o
		}
	}
	return first
}

// wait waits until a ticket that was asked with is served, and returns in whose
// name it was. release gives back what it got.
func (f *fair) wait(ctx context.Context, t *ticket) (by string, release func(), err error) {
	select {
	case <-t.over:
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		if !t.isOver {
			for len(t.owners) > 0 {
				f.leave(t, t.owners[0])
			}
			t.end(ctx.Err())
			f.serve() // what it stood in the way of may be small enough
		}
	}
	if t.err != nil {
		return "", nil, t.err
	}
	return t.by.name, func() { f.release(t) }, nil
}

// acquire asks and waits in the name of ctx's owner.
func (f *fair) acquire(ctx context.Context, n int64) (release func(), err error) {
	var t ticket
	f.ask(&t, ownerOf(ctx), n)
	_, release, err = f.wait(ctx, &t)
	return release, err
}

func (f *fair) release(t *ticket) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.by.held -= t.n
	f.held -= t.n
	f.turn(t.by)
	f.forget(t.by)
	f.serve()
}

// load returns what is held and how many wait.
func (f *fair) load() (held int64, waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held, f.waiting
}

type ownerKey struct{}

// withOwner says in whose name the work of ctx is done.
func withOwner(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, ownerKey{}, name)
}

func ownerOf(ctx context.Context) string {
	name, _ := ctx.Value(ownerKey{}).(string)
	return name
}
