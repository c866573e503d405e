package imagescan

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/capvet/capvet/internal/layers"
)

// layerKey identifies a cached summary. The registry is part of it: one registry
// must not vouch for a layer that another one holds.
type layerKey struct {
	registry, digest string
	allBinaries      bool
	// toc is the table of contents that one image's manifest names; another
	// image's may name another one for the same layer.
	toc layers.TOC
}

// readKey identifies a reading in progress. Repositories are separate, because
// access to one need not mean access to another.
type readKey struct {
	layerKey
	repository string
	wanted     string // paths, separated by zero bytes
}

// layerCache is an LRU cache of layers' summaries, bounded in bytes.
type layerCache struct {
	mu    sync.Mutex
	order *simplelru.LRU[layerKey, *layers.Summary]
	bytes int64
	limit int64
}

// maxCachedLayers bounds the number of summaries; in practice the bytes do.
const maxCachedLayers = 1 << 20

func newLayerCache(limit int64) *layerCache {
	c := &layerCache{limit: limit}
	// The only error is for a size that is not positive.
	c.order, _ = simplelru.NewLRU(maxCachedLayers, func(_ layerKey, s *layers.Summary) { c.bytes -= s.Bytes() })
	return c
}

func (c *layerCache) get(k layerKey) (*layers.Summary, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Get(k)
}

// add replaces the summary of a layer. One larger than the whole cache is not
// stored.
func (c *layerCache) add(k layerKey, s *layers.Summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order.Remove(k)
	if s.Bytes() > c.limit {
		return
	}
	c.order.Add(k, s)
	for c.bytes += s.Bytes(); c.bytes > c.limit; {
		c.order.RemoveOldest()
	}
}

// cachedSummary returns a layer's summary for a scan: cached, of a reading in
// progress, or of a new reading.
func (s *Scanner) cachedSummary(ctx context.Context, scan scanKey, b layers.Blob, before *layers.Summary,
	wanted map[string]bool) (*layers.Summary, error) {
	paths := strings.Join(slices.Sorted(maps.Keys(wanted)), "\x00")
	k := readKey{layerKey{scan.registry, b.Digest.String(), b.AllBinaries, b.TOC}, scan.repository, paths}
	cached := func() (*layers.Summary, bool) {
		summary, ok := s.layerCache.get(k.layerKey)
		if ok && !summary.Covers(wanted) {
			before, ok = summary, false
		}
		return summary, ok
	}
	read := func() (*layers.Summary, error) { return s.reader.Summarize(ctx, b, before, wanted) }
	return s.reads.do(ctx, k, cached, read, func(summary *layers.Summary) { s.layerCache.add(k.layerKey, summary) })
}
