package imagescan

import (
	"context"
	"maps"
	"slices"
	"strings"

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

// maxCachedLayers bounds the number of summaries; in practice the bytes do.
const maxCachedLayers = 1 << 20

// newLayerCache returns a cache of layers' summaries of at most limit bytes.
func newLayerCache(limit int64) *byteCache[layerKey, *layers.Summary] {
	return newByteCache(limit, maxCachedLayers, func(_ layerKey, s *layers.Summary) int64 { return s.Bytes() })
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
