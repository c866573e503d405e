package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

const (
	// maxPasses is how often layers are read for files that only a link from
	// another layer shows to be of interest.
	maxPasses = 3
	// readAhead is the largest layer, in bytes, that is read beside those above
	// it though one of them may answer early. A larger one waits for them unless
	// they are larger still: that costs little against reading it in vain.
	readAhead = 4 << 20
)

// blob is a layer as it is stored.
type blob struct {
	key    layerKey // for the cache; the zero value: not cached
	reader string   // who reads it: those who do not share access do not share failures
	digest v1.Hash  // of what open returns
	size   int64    // likewise; negative if not known
	open   func(ctx context.Context) (io.ReadCloser, error)
	gap    string // why it is not read; empty: it is
	others bool   // all executables are looked at
	// table is what it is read through, part opens a range of it; nil: it is read
	// in full.
	table table
	part  func(ctx context.Context, from, to int64) (io.ReadCloser, error)
}

// readImage scans an image whose layers are the blobs. early is given what can
// be said before all is read, and answers whether that is enough; nil: nothing
// is wanted early.
func (s *Scanner) readImage(ctx context.Context, image resolution, blobs []blob, early func(report.Report) bool) (report.Report, error) {
	config := image.config
	if config == nil && image.manifest.Config.MediaType.IsConfig() {
		var err error
		if config, err = readConfig(ctx, image.source, image.manifest); err != nil {
			return report.Report{}, fmt.Errorf("image configuration: %w", err)
		}
	}
	says := configuration(config)
	told := early
	if early != nil {
		told = func(r report.Report) bool {
			r.Configuration = says
			return early(r)
		}
	}
	return s.readBlobs(ctx, blobs, started(config), says, told)
}

// blobsOf lists the layers of an image, the lowest first. others has all their
// executables looked at.
func blobsOf(from source, manifest *v1.Manifest, others bool) []blob {
	var blobs []blob
	for _, d := range manifest.Layers {
		b := blob{digest: d.Digest, size: d.Size, others: others}
		if named, ok := from.(*session); ok {
			b.key = layerKey{registry: named.repository.RegistryStr(), digest: d.Digest.String(), others: others}
			b.reader = named.repository.Name()
		}
		if isForeign(d.MediaType) {
			b.gap = "a foreign layer, which the registry does not hold"
		}
		b.open = func(ctx context.Context) (io.ReadCloser, error) { return from.blob(ctx, d.Digest) }
		blobs = append(blobs, b)
	}
	return blobs
}

// errEnough ends the reading of layers once an early answer is enough.
var errEnough = errors.New("an early answer is enough")

// readBlobs reads layers until every executable of interest is analysed: of a
// name of interest, or at one of the paths of what the image runs. says is what
// the image's configuration does; nil: it has none.
func (s *Scanner) readBlobs(ctx context.Context, blobs []blob, started []string, says *report.Configuration, early func(report.Report) bool) (report.Report, error) {
	r, err := s.begin(blobs)
	if err != nil {
		return report.Report{}, err
	}
	layers := stack{blobs, make([]*summary, len(blobs))}
	missing := make([]map[string]bool, 0, len(blobs))
	for _, b := range blobs {
		wanted := map[string]bool{}
		for _, name := range started {
			wanted[name] = true
		}
		if b.part == nil || userByName(says) != "" { // in passing: the next image on this layer may need it
			wanted[passwdFile] = true
		}
		missing = append(missing, wanted)
	}
	again := slices.Repeat([]bool{true}, len(blobs))
	answer := report.Report{}
	onTop := func(lowest int) error { // all from lowest upwards are read
		if early == nil {
			return nil
		}
		if proven, ok := layers.from(lowest).proven(ctx, s.options.IsCandidate); ok {
			answer = proven
			enough := early(proven)
			early = nil
			if enough {
				return errEnough
			}
		}
		return nil
	}
	for range maxPasses {
		gated := func() bool { return early != nil }
		err := s.readLayers(ctx, layers, again, missing, gated, onTop)
		if errors.Is(err, errEnough) {
			return answer, nil
		}
		if err != nil {
			return report.Report{}, err
		}
		files, left, err := layers.candidates(ctx, s.options.IsCandidate, started)
		if err != nil {
			return report.Report{}, err
		}
		missing = layers.missing(files)
		again = make([]bool, len(blobs))
		for i := range missing {
			again[i] = missing[i] != nil
		}
		if !slices.Contains(again, true) {
			layers.addTo(&r, files, left, s.options.Libraries)
			r.Settings = layers.settings(started)
			r.Configuration = layers.withUser(says)
			return r, nil
		}
	}
	return report.Report{}, fmt.Errorf("%w: its links lead on after %d readings", imagefs.ErrTooLarge, maxPasses)
}

// begin checks what can be checked before anything is read.
func (s *Scanner) begin(blobs []blob) (report.Report, error) {
	limits := s.options.Limits
	if len(blobs) > limits.Layers {
		return report.Report{}, fmt.Errorf("%w: the image has %d layers, the limit is %d", imagefs.ErrTooLarge, len(blobs), limits.Layers)
	}
	r := report.New()
	for _, b := range blobs {
		if b.gap != "" {
			r.Complete = false
			r.Gaps = append(r.Gaps, report.Gap{Where: b.digest.String(), Reason: "not-readable", Detail: b.gap})
		}
		if b.size > limits.LayerBytes {
			return report.Report{}, fmt.Errorf("%w: layer %s has %d bytes, the limit is %d", imagefs.ErrTooLarge, b.digest, b.size, limits.LayerBytes)
		}
	}
	return r, nil
}

// readLayers reads the layers that are marked, from the top down and some at a
// time, into layers.summaries. While gated, a large layer waits for those above
// it: they may answer without it. onTop is told when all from some layer upwards
// are read; its error ends the reading.
func (s *Scanner) readLayers(ctx context.Context, layers stack, marked []bool, missing []map[string]bool, gated func() bool, onTop func(lowest int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		index   int
		summary *summary
		err     error
	}
	results := make(chan result)
	done := make([]bool, len(marked))
	next, top, running, underway := len(marked)-1, len(marked), 0, int64(0)
	var failed error
	for {
		for failed == nil && running < s.options.Limits.LayersAtOnce {
			for next >= 0 && !marked[next] {
				done[next] = true
				next--
			}
			if next < 0 {
				break
			}
			size := layers.blobs[next].size
			if gated() && running > 0 && size > readAhead && size > underway && layers.blobs[next].part == nil {
				break
			}
			i := next
			go func() {
				of, err := s.summaryOf(ctx, layers.blobs[i], layers.summaries[i], missing[i])
				results <- result{i, of, err}
			}()
			next--
			running++
			underway += max(size, 0)
		}
		if running == 0 {
			return failed
		}
		r := <-results
		running--
		underway -= max(layers.blobs[r.index].size, 0)
		if failed == nil && r.err != nil {
			failed = fmt.Errorf("layer %s: %w", layers.blobs[r.index].digest, r.err)
			cancel()
		}
		if failed != nil {
			continue
		}
		layers.summaries[r.index], done[r.index] = r.summary, true
		before := top
		for top > 0 && done[top-1] {
			top--
		}
		if top < before {
			if failed = onTop(top); failed != nil {
				cancel()
			}
		}
	}
}

// emptyLayer is what a layer that is not read contributes.
func emptyLayer() (*summary, error) {
	layer, err := imagefs.ReadLayer(bytes.NewReader(nil), imagefs.Limits{}, nil, nil)
	return &summary{layer: layer}, err
}
