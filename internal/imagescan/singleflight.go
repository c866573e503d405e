package imagescan

import (
	"context"
	"errors"
	"sync"

	"github.com/capvet/capvet/internal/layers"
)

// singleflightGroup shares calls with the same key: the first caller does the
// work, the others wait for it. Unlike x/sync/singleflight, it consults a cache
// under its lock, its waits end with their contexts, and a call may publish an
// early value.
type singleflightGroup[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V] // running
}

// call is work in progress.
type call[V any] struct {
	done  chan struct{}
	value V
	err   error

	published chan struct{} // closed once early is set, at most once
	early     V

	waiter waiter // for its start
}

// join returns the call of k. cached is consulted first and may supply the value;
// no call finishes between that and the start of a new one. started means that
// the caller must run the call and finish it.
func (g *singleflightGroup[K, V]) join(k K, cached func() (V, bool)) (c *call[V], started bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, known := cached()
	if c, running := g.calls[k]; running && !known {
		return c, false
	}
	c = &call[V]{done: make(chan struct{}), published: make(chan struct{})}
	if known {
		c.value, c.waiter.settled = v, true
		close(c.done)
		return c, false
	}
	if g.calls == nil {
		g.calls = map[K]*call[V]{}
	}
	g.calls[k] = c
	return c, true
}

// finish ends the call of k. It calls keep with a value before any new join.
func (g *singleflightGroup[K, V]) finish(k K, c *call[V], keep func(V)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, k)
	if c.err == nil {
		keep(c.value)
	}
	close(c.done)
}

// do returns the value of k: cached, of a running call, or of work. If the call
// that it joined ended with that call's own context, it starts again.
func (g *singleflightGroup[K, V]) do(ctx context.Context, k K, cached func() (V, bool), work func() (V, error), keep func(V)) (V, error) {
	for {
		c, started := g.join(k, cached)
		if started {
			func() {
				c.err = layers.ErrPanic // stands if work panics
				defer g.finish(k, c, keep)
				c.value, c.err = work()
			}()
		}
		v, err := c.wait(ctx, false)
		ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if started || !ended || ctx.Err() != nil {
			return v, err
		}
	}
}

// wait returns the call's value, or the error of ctx. With early, the published
// value suffices.
func (c *call[V]) wait(ctx context.Context, early bool) (V, error) {
	published := c.published
	if !early {
		published = nil
	}
	select {
	case <-c.done:
		return c.value, c.err
	case <-published:
		return c.early, nil
	case <-ctx.Done():
		var zero V
		return zero, ctx.Err()
	}
}
