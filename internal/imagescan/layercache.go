package imagescan

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// layerKey names a layer as one registry holds it, and whether all its
// executables were looked at. What one registry says must not open what was read
// from another.
type layerKey struct {
	registry, digest string
	others           bool
	// table is what the layer is read through, as one image says: another may say
	// something else of the same layer.
	table table
}

// layerCache keeps summaries of layers up to a number of bytes, those used last.
type layerCache struct {
	mu    sync.Mutex
	order *simplelru.LRU[layerKey, *summary]
	bytes int64
	limit int64
}

// maxCachedLayers bounds the count; the bytes bound it long before.
const maxCachedLayers = 1 << 20

func newLayerCache(limit int64) *layerCache {
	c := &layerCache{limit: limit}
	// The only error is for a size that is not positive.
	c.order, _ = simplelru.NewLRU(maxCachedLayers, func(_ layerKey, s *summary) { c.bytes -= s.bytes() })
	return c
}

func (c *layerCache) get(k layerKey) (*summary, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Get(k)
}

// add keeps a summary in the place of what was known of the layer. One that is
// larger than the whole cache is not kept.
func (c *layerCache) add(k layerKey, s *summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Remove(k)
	if s.bytes() > c.limit {
		return
	}
	c.order.Add(k, s)
	for c.bytes += s.bytes(); c.bytes > c.limit; {
		c.order.RemoveOldest()
	}
}
