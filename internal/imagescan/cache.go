package imagescan

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// byteCache is an LRU cache bounded in bytes and in entries. Its values may
// expire: they then leave memory in the order of their addition, asked for or not.
type byteCache[K comparable, V any] struct {
	limit int64 // bytes
	size  func(K, V) int64
	ttl   time.Duration // 0: values do not expire
	now   func() time.Time

	mu    sync.Mutex
	order *simplelru.LRU[K, cached[V]]
	bytes int64
	armed bool // a purge is due
}

// cached is a value with its size in bytes and its time of expiry.
type cached[V any] struct {
	value V
	size  int64
	until time.Time
}

// newByteCache returns a cache of at most limit bytes, keys included, as size
// counts them.
func newByteCache[K comparable, V any](limit int64, entries int, size func(K, V) int64) *byteCache[K, V] {
	c := &byteCache[K, V]{limit: limit, size: size, now: time.Now}
	// The only error is for a number of entries that is not positive.
	c.order, _ = simplelru.NewLRU(entries, func(_ K, v cached[V]) { c.bytes -= v.size })
	return c
}

// newExpiringCache returns a cache whose values expire. A ttl of zero disables it.
func newExpiringCache[K comparable, V any](ttl time.Duration, limit int64, entries int, size func(K, V) int64) *byteCache[K, V] {
	if ttl <= 0 {
		limit = -1
	}
	c := newByteCache(limit, entries, size)
	c.ttl = max(ttl, 0)
	return c
}

func (c *byteCache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ttl == 0 {
		v, ok := c.order.Get(k)
		return v.value, ok
	}
	c.expire()
	v, ok := c.order.Peek(k) // without effect on the order, which is that of expiry
	return v.value, ok
}

// add replaces the value of a key. One larger than the whole cache is not stored.
func (c *byteCache[K, V]) add(k K, value V) {
	size := c.size(k, value)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Remove(k)
	if size > c.limit {
		return
	}
	c.order.Add(k, cached[V]{value, size, c.now().Add(c.ttl)})
	for c.bytes += size; c.bytes > c.limit; {
		c.order.RemoveOldest()
	}
	if c.ttl > 0 && !c.armed {
		c.armed = true
		time.AfterFunc(c.ttl, c.purge)
	}
}

// purge removes expired values, and returns after the next expiry for more.
func (c *byteCache[K, V]) purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	_, oldest, some := c.order.GetOldest()
	if c.armed = some; some {
		time.AfterFunc(oldest.until.Sub(c.now()), c.purge)
	}
}

// expire removes expired values.
func (c *byteCache[K, V]) expire() {
	for {
		_, oldest, some := c.order.GetOldest()
		if !some || c.now().Before(oldest.until) {
			return
		}
		c.order.RemoveOldest()
	}
}
