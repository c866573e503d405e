package layers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"

	"github.com/capvet/capvet/internal/imagefs"
)

// Summarize reads one layer, through its table of contents or else in full, and
// analyses its selected files and those at the wanted paths. before is the
// summary of an earlier reading; nil if there was none.
func (r *Reader) Summarize(ctx context.Context, b Blob, before *Summary, wanted map[string]bool) (*Summary, error) {
	if b.Range != nil && (before == nil || before.throughTOC) {
		if s, err := r.readThroughTOC(ctx, b, before, wanted); err == nil || errors.Is(err, ErrSpool) {
			return s, err
		}
	}
	if before != nil && before.throughTOC {
		before = nil // the table need not have described the layer truthfully
	}
	s, err := r.readInFull(ctx, b, before, wanted)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // the error of an interrupted read is less telling
	}
	return s, err
}

// selects returns a function that reports whether a file is analysed: by its
// name, or because its path is wanted.
func (r *Reader) selects(wanted map[string]bool) func(name string) bool {
	return func(name string) bool {
		base := path.Base(name)
		return r.Inspector.IsCandidate(base) || r.Inspector.isLibrary(base) || wanted[name]
	}
}

// readInFull streams one layer, verifies its digest, and analyses its selected
// files.
func (r *Reader) readInFull(ctx context.Context, b Blob, before *Summary, wanted map[string]bool) (*Summary, error) {
	stored, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	// Three concurrent steps: download and hash, decompress, walk. Each is closed
	// after the step that it may wait for.
	verified := &verifier{r: stored, hash: sha256.New(), limit: r.Limits.LayerBytes}
	packed := newReadahead(verified, &r.chunks)
	steps := []io.Closer{stored, packed}
	defer func() {
		for _, step := range steps {
			_ = step.Close()
		}
		for _, step := range steps { // a step reads the one before until its own end
			if ahead, ok := step.(*readahead); ok {
				ahead.recycle()
			}
		}
	}()
	unpacked, err := imagefs.Unpack(packed, r.Limits.Layer, r.reserveWindow(ctx))
	if err != nil {
		return nil, err
	}
	archive := newReadahead(unpacked, &r.chunks)
	steps = append(steps, archive, unpacked)

	a := r.newAnalyses(before, b.AllBinaries)
	defer a.wait()
	screening := screening{reader: r, analyses: a}
	selection := imagefs.Selection{
		Wanted: r.selects(wanted),
		Visit: func(at imagefs.Source, attributes imagefs.Attributes, content io.Reader) error {
			return a.add(at, attributes, func() (*spooledFile, error) { return r.spool(ctx, at.Path, attributes.Size, content) })
		},
	}
	switch {
	case !b.AllBinaries:
	case before != nil:
		screening.skipped = before.skipped // the earlier reading screened the layer
	default:
		selection.VisitOther = func(at imagefs.Source, attributes imagefs.Attributes, content io.Reader) error {
			return screening.visit(ctx, at, attributes, content)
		}
	}
	layer, err := imagefs.ReadLayer(archive, r.Limits.Layer, selection)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, packed); err != nil { // the digest covers trailing bytes too
		return nil, err
	}
	if sum := hex.EncodeToString(verified.hash.Sum(nil)); sum != b.Digest.Hex || b.Digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("%w: its content has the digest sha256:%s", imagefs.ErrMalformed, sum)
	}
	s := &Summary{layer: layer, files: a.results(), stored: verified.n, unpacked: archive.position, skipped: screening.omission()}
	return s.measured(), nil
}

// reserveWindow returns a function that reserves the memory of a zstd window.
func (r *Reader) reserveWindow(ctx context.Context) func(int64) (func(), error) {
	return func(n int64) (func(), error) { return r.WindowBudget.Acquire(ctx, n) }
}

// verifier hashes and bounds a stream.
type verifier struct {
	r     io.Reader
	hash  hash.Hash
	n     int64
	limit int64
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	if v.n += int64(n); v.n > v.limit {
		return n, fmt.Errorf("%w: it has more than %d bytes", imagefs.ErrTooLarge, v.limit)
	}
	return n, err
}
