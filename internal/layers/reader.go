// Package layers turns the layers of one image into a report. Each layer is
// streamed once and reduced to a Summary: its file system changes and the
// analyses of its selected files. The summaries are then merged as an overlay
// file system would merge the layers. Package imagefs applies the whiteouts.
//
// It knows no registry, no cache and no policy. Layers are hostile: Limits bound
// their cost, a Summary rests on bytes with a verified digest, and a panic over
// one of them is an error.
package layers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

const (
	// maxPasses bounds how often layers are read again for files that only a link
	// from another layer selects.
	maxPasses = 3
	// smallLayer is the largest layer, in bytes, that is read concurrently with
	// the layers above it even though one of them may answer early. A larger one
	// waits, unless a layer above is larger still: that costs little compared
	// with reading it in vain.
	smallLayer = 4 << 20
)

// ErrPanic reports a panic inside capvet.
var ErrPanic = errors.New("the scan failed inside capvet")

// Budget is an amount of memory that concurrent readings share.
type Budget interface {
	// Acquire takes n bytes, or as many as there are if that is less. It waits
	// until they are free or ctx ends.
	Acquire(ctx context.Context, n int64) (release func(), err error)
}

// Reader reads images. It is safe for concurrent use. Its readings share buffers:
// many at once would otherwise leave much garbage.
type Reader struct {
	// Inspector analyses files.
	Inspector Inspector
	// Limits has its defaults filled in.
	Limits Limits
	// FileBudget is the memory for files being analysed, WindowBudget that for
	// zstd windows. They are separate: the holder of a window waits for files.
	FileBudget, WindowBudget Budget

	chunks sync.Pool // of readahead
	files  sync.Pool // of spool: *[]byte

	createTemp func() (*os.File, error) // nil means os.CreateTemp; a test's
}

// Blob is a layer as it is stored.
type Blob struct {
	// Digest is the digest of the content, Size its length in bytes; negative if
	// unknown.
	Digest v1.Hash
	Size   int64
	// Open opens the content. Its reads end when ctx does.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// Gap is the reason that the layer cannot be read; empty if it can.
	Gap string
	// AllBinaries selects every executable of the layer.
	AllBinaries bool
	// TOC locates the table of contents and Range opens the bytes from start to
	// end, exclusive; nil means that the layer is read in full.
	TOC   TOC
	Range func(ctx context.Context, start, end int64) (io.ReadCloser, error)
}

// Image is an image to read.
type Image struct {
	// Blobs are the layers, the lowest first.
	Blobs []Blob
	// Config is the image's configuration; nil if it has none.
	Config *Config
	// Summarize returns a layer's summary; nil means Reader.Summarize. A cache
	// wraps it.
	Summarize func(ctx context.Context, b Blob, before *Summary, wanted map[string]bool) (*Summary, error)
	// Early receives a proven legacy verdict before all layers are read, and
	// reports whether it suffices. It is called at most once; nil means never.
	Early func(report.Report) bool
}

// unresolved is the detail of the gap of an image whose paths take more than
// imagefs.DefaultSteps.
const unresolved = "its links and layers take too many steps to resolve, so that files may be missing; use fewer links"

// errEnough ends a reading whose early answer suffices.
var errEnough = errors.New("an early answer suffices")

// Read reports on an image: on every file with a candidate's name, and on the
// programs that the image runs.
func (r *Reader) Read(ctx context.Context, image Image) (report.Report, error) {
	n := len(image.Blobs)
	if n > r.Limits.Layers {
		return report.Report{}, fmt.Errorf("%w: the image has %d layers, the limit is %d", imagefs.ErrTooLarge, n, r.Limits.Layers)
	}
	if image.Summarize == nil {
		image.Summarize = r.Summarize
	}
	result, started := report.New(), startedPaths(image.Config)
	s := stack{image.Blobs, make([]*Summary, n)}
	p := &passes{
		reader: r, image: image, stack: s, configuration: configurationOf(image.Config),
		pending: make([]bool, n), wanted: make([]map[string]bool, n), earlySteps: imagefs.NewSteps(imagefs.DefaultSteps),
	}
	steps := imagefs.NewSteps(imagefs.DefaultSteps)
	for i, b := range image.Blobs {
		if limit := r.Limits.LayerBytes; b.Size > limit {
			return report.Report{}, fmt.Errorf("%w: layer %s has %d bytes, the limit is %d", imagefs.ErrTooLarge, b.Digest, b.Size, limit)
		}
		if b.Gap != "" {
			result.Complete = false
			result.Gaps = append(result.Gaps, report.Gap{Where: b.Digest.String(), Reason: "not-readable", Detail: b.Gap})
		}
		p.pending[i], p.wanted[i] = true, map[string]bool{}
		for _, name := range started {
			p.wanted[i][name] = true
		}
		// A full reading passes passwd anyway, and the next image on this layer
		// may need it.
		if b.Range == nil || userName(p.configuration) != "" {
			p.wanted[i][passwdFile] = true
		}
	}
	for range maxPasses {
		err := p.read(ctx)
		if errors.Is(err, errEnough) {
			return p.answer, nil
		}
		if err != nil {
			return report.Report{}, err
		}
		tree := s.tree(steps)
		files, omitted, err := s.candidates(ctx, tree, r.Inspector.IsCandidate, started)
		if err != nil {
			return report.Report{}, err
		}
		p.wanted = s.missing(files)
		for i := range p.wanted {
			p.pending[i] = p.wanted[i] != nil
		}
		if !slices.Contains(p.pending, true) {
			s.addTo(&result, tree, files, omitted, r.Inspector)
			result.Settings = s.settings(tree, started)
			result.Configuration = s.withUID(tree, p.configuration)
			if steps.Exceeded() {
				result.Complete = false
				result.Gaps = append(result.Gaps, report.Gap{Where: "/", Reason: report.GapTooLarge, Detail: unresolved})
			}
			return result, nil
		}
	}
	return report.Report{}, fmt.Errorf("%w: its links lead on after %d readings", imagefs.ErrTooLarge, maxPasses)
}

// passes read the layers of an image, each from the top down.
type passes struct {
	reader        *Reader
	image         Image // Early is nil after its call
	stack         stack // receives the summaries
	configuration *report.Configuration
	pending       []bool            // the layers of the next pass
	wanted        []map[string]bool // paths to analyse, by layer
	answer        report.Report     // of Early
	earlySteps    *imagefs.Steps    // for Early, which a spent budget only ends
}

// proven passes on a legacy verdict of the layers from lowest upwards, all of
// which are read. It returns errEnough if that suffices.
func (p *passes) proven(ctx context.Context, lowest int) error {
	early := p.image.Early
	if early == nil {
		return nil
	}
	top := stack{p.stack.blobs[lowest:], p.stack.summaries[lowest:]}
	answer, ok := top.proven(ctx, p.reader.Inspector.IsCandidate, p.earlySteps)
	if !ok {
		return nil
	}
	answer.Configuration = p.configuration
	p.answer, p.image.Early = answer, nil
	if early(answer) {
		return errEnough
	}
	return nil
}

// read reads the pending layers once. A large layer waits for those above it
// while these may prove a verdict without it.
func (p *passes) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		index   int
		summary *Summary
		err     error
	}
	results := make(chan result)
	blobs, done := p.stack.blobs, make([]bool, len(p.pending))
	next, top, running, bytesRunning := len(blobs)-1, len(blobs), 0, int64(0)
	var failed error
	for {
		for failed == nil && running < p.reader.Limits.LayersAtOnce {
			for next >= 0 && !p.pending[next] {
				done[next] = true
				next--
			}
			if next < 0 {
				break
			}
			size := blobs[next].Size
			if p.image.Early != nil && running > 0 && size > smallLayer && size > bytesRunning && blobs[next].Range == nil {
				break
			}
			i := next
			go func() {
				summary, err := p.summary(ctx, i)
				results <- result{i, summary, err}
			}()
			next--
			running++
			bytesRunning += max(size, 0)
		}
		if running == 0 {
			return failed
		}
		r := <-results
		running--
		bytesRunning -= max(blobs[r.index].Size, 0)
		if failed == nil && r.err != nil {
			failed = fmt.Errorf("layer %s: %w", blobs[r.index].Digest, r.err)
			cancel()
		}
		if failed != nil {
			continue
		}
		p.stack.summaries[r.index], done[r.index] = r.summary, true
		before := top
		for top > 0 && done[top-1] {
			top--
		}
		if top < before {
			if failed = p.proven(ctx, top); failed == nil {
				failed = p.bounded(top)
			}
			if failed != nil {
				cancel()
			}
		}
	}
}

// bounded checks the limits on all layers together, for those from lowest upwards.
func (p *passes) bounded(lowest int) error {
	var memory, stored, unpacked int64
	limits := p.reader.Limits
	for i := len(p.stack.summaries) - 1; i >= lowest; i-- {
		s := p.stack.summaries[i]
		memory, stored, unpacked = memory+s.bytes, stored+s.stored, unpacked+s.unpacked
		if unpacked > ratioFrom && unpacked/limits.Layer.Ratio > stored {
			return fmt.Errorf("%w: the image's layers unpack to more than %d times their size", imagefs.ErrTooLarge, limits.Layer.Ratio)
		}
	}
	if memory > limits.ResultBytes {
		return fmt.Errorf("%w: the results of the image's layers take more than %d bytes of memory", imagefs.ErrTooLarge, limits.ResultBytes)
	}
	return nil
}

// summary returns the summary of a layer with its wanted files.
func (p *passes) summary(ctx context.Context, i int) (s *Summary, err error) {
	defer recoverAs(&err, ErrPanic)
	b := p.stack.blobs[i]
	if b.Gap != "" {
		layer, err := imagefs.ReadLayer(bytes.NewReader(nil), imagefs.Limits{}, imagefs.Selection{})
		return (&Summary{layer: layer}).measured(), err
	}
	s, err = p.image.Summarize(ctx, b, p.stack.summaries[i], p.wanted[i])
	if err == nil && b.Size >= 0 && s.stored != b.Size {
		return nil, fmt.Errorf("%w: it has %d bytes, the manifest says %d", imagefs.ErrMalformed, s.stored, b.Size)
	}
	return s, err
}

// recoverAs is deferred, and turns a panic into an error that wraps kind.
func recoverAs(err *error, kind error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", kind, p)
	}
}
