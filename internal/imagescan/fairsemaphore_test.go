package imagescan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// order enqueues a waiter for each step, whose first letter is the owner, releases
// the grants one after the other, and returns the order of grants. A rejected
// waiter ends with an exclamation mark, an unserved one with a question mark.
func order(f *fairSemaphore, steps ...string) []string {
	type request struct {
		name   string
		waiter *waiter
	}
	var waiting []request
	var served []string
	var held []*waiter
	collect := func() {
		for i := 0; i < len(waiting); i++ {
			if t := waiting[i].waiter; t.settled {
				if t.err != nil {
					served = append(served, waiting[i].name+"!")
				} else {
					served = append(served, waiting[i].name)
					held = append(held, t)
				}
				waiting = append(waiting[:i], waiting[i+1:]...)
				i--
			}
		}
	}
	for _, step := range steps {
		var n int64 = 1
		name, size, sized := strings.Cut(step, "*")
		if sized {
			_, _ = fmt.Sscan(size, &n)
		}
		t := &waiter{}
		f.enqueue(t, name[:1], n)
		waiting = append(waiting, request{name, t})
		collect()
	}
	for len(held) > 0 {
		f.release(held[0])
		held = held[1:]
		collect()
	}
	for _, left := range waiting {
		served = append(served, left.name+"?")
	}
	return served
}

func TestFairSemaphoreOrder(t *testing.T) {
	for _, tt := range []struct {
		name          string
		size, reserve int64
		room          int
		steps, want   string
	}{
		{name: "one after the other", size: 1, steps: "a1 a2 b1 a3", want: "a1 b1 a2 a3"},
		{name: "by turns", size: 1, steps: "a1 a2 a3 a4 b1 b2 c1", want: "a1 b1 c1 a2 b2 a3 a4"},
		{name: "who holds least first", size: 3, steps: "a1 a2 a3 a4 a5 b1 b2", want: "a1 a2 a3 b1 b2 a4 a5"},
		{name: "something is kept for who holds nothing", size: 4, reserve: 1, steps: "a1 a2 a3 a4 b1", want: "a1 a2 a3 b1 a4"},
		{name: "all is had by who holds nothing", size: 4, reserve: 1, steps: "a1*4 a2*4", want: "a1*4 a2*4"},
		{name: "more than there is means all", size: 4, steps: "a1*9 b1", want: "a1*9 b1"},
		{name: "nothing is something", size: 1, steps: "a1*0 b1*0", want: "a1*0 b1*0"},
		{name: "the large are not overtaken", size: 4, steps: "a1*2 b1*3 c1*1", want: "a1*2 b1*3 c1*1"},
		{name: "the longest queue gives way", size: 1, room: 3, steps: "a1 a2 a3 a4 b1 c1", want: "a1 a4! a3! b1 c1 a2"},
		{name: "also if it is the newcomer's", size: 1, room: 2, steps: "a1 a2 a3 a4", want: "a1 a4! a2 a3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			for _, w := range strings.Fields(tt.want) {
				name, _, _ := strings.Cut(w, "*")
				want = append(want, name)
			}
			f := newFairSemaphore(tt.size, tt.reserve, tt.room)
			if diff := cmp.Diff(want, order(f, strings.Fields(tt.steps)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if held, waiting := f.load(); held != 0 || waiting != 0 || len(f.owners) != 0 {
				t.Errorf("%d held, %d waiting, %d owners are left", held, waiting, len(f.owners))
			}
		})
	}
}

// TestFairSemaphoreJoin: a waiter in the queues of two owners is served by the turn
// of either.
func TestFairSemaphoreJoin(t *testing.T) {
	f := newFairSemaphore(1, 0, 0)
	var running, before, shared waiter
	f.enqueue(&running, "flood", 1)
	f.enqueue(&before, "flood", 1)
	f.enqueue(&shared, "flood", 1)
	f.enqueue(&shared, "small", 1)
	f.enqueue(&shared, "small", 1)
	if _, waiting := f.load(); waiting != 3 {
		t.Errorf("%d wait, want 3: two of flood, one of small", waiting)
	}
	f.release(&running)
	if !shared.settled || before.settled {
		t.Fatal("the newcomer's turn did not come first")
	}
	f.enqueue(&shared, "late", 1) // it is settled already
	by, release, err := f.wait(t.Context(), &shared)
	if err != nil || by != "small" {
		t.Fatalf("served in the name of %q, %v", by, err)
	}
	release()
	if !before.settled {
		t.Error("the other was not served")
	}
	f.release(&before)
	if held, waiting := f.load(); held != 0 || waiting != 0 || len(f.owners) != 0 {
		t.Errorf("%d held, %d waiting, %d owners are left", held, waiting, len(f.owners))
	}
}

// TestFairSemaphoreCancel: a cancelled waiter does not block the next one.
func TestFairSemaphoreCancel(t *testing.T) {
	f := newFairSemaphore(4, 0, 0)
	var running, large, small waiter
	f.enqueue(&running, "a", 2)
	f.enqueue(&large, "b", 3)
	f.enqueue(&small, "c", 2)
	if small.settled {
		t.Fatal("the large was overtaken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.wait(ctx, &large); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !small.settled {
		t.Error("what waited behind it was not served")
	}
	if _, release, err := f.wait(ctx, &small); err != nil { // it had been served
		t.Error(err)
	} else {
		release()
	}
	f.release(&running)
	if held, waiting := f.load(); held != 0 || waiting != 0 || len(f.owners) != 0 {
		t.Errorf("%d held, %d waiting, %d owners are left", held, waiting, len(f.owners))
	}
}

// TestFairSemaphoreConcurrent: concurrent owners, some of which give up, never hold
// more than the size, and leave no grant or waiter behind.
func TestFairSemaphoreConcurrent(t *testing.T) {
	const size = 5
	f := newFairSemaphore(size, 1, 40)
	var mu sync.Mutex
	held := int64(0)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 200 {
				ctx, cancel := context.WithCancel(withOwner(t.Context(), fmt.Sprint(i%5)))
				if random.IntN(4) == 0 {
					go cancel()
				}
				n := 1 + random.Int64N(size)
				release, err := f.Acquire(ctx, n)
				if err == nil {
					mu.Lock()
					if held += n; held > size {
						t.Errorf("%d of %d held", held, size)
					}
					mu.Unlock()
					mu.Lock()
					held -= n
					mu.Unlock()
					release()
				} else if !errors.Is(err, context.Canceled) && !errors.Is(err, errBusy) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if held, waiting := f.load(); held != 0 || waiting != 0 || len(f.owners) != 0 {
		t.Errorf("%d held, %d waiting, %d owners are left", held, waiting, len(f.owners))
	}
}
