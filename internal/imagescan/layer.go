package imagescan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/imagefs"
)

// readKey is one reading of a layer: where from, and for which files besides
// the candidates by name.
type readKey struct {
	layerKey
	reader string
	wanted string
}

// summaryOf returns what a layer contributes, with the wanted files analysed.
// before is what an earlier reading for the same image came to, if there was
// one.
func (s *Scanner) summaryOf(ctx context.Context, b blob, before *summary, wanted map[string]bool) (of *summary, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	switch {
	case b.gap != "":
		return emptyLayer()
	case b.key == layerKey{}:
		of, err = s.readLayer(ctx, b, before, wanted)
	default:
		of, err = s.sharedSummary(ctx, b, before, wanted)
	}
	if err == nil && b.size >= 0 && of.stored != b.size {
		return nil, fmt.Errorf("%w: it has %d bytes, the manifest says %d", imagefs.ErrMalformed, of.stored, b.size)
	}
	return of, err
}

// sharedSummary returns a summary that is remembered, from a reading under way,
// or from one that it starts.
func (s *Scanner) sharedSummary(ctx context.Context, b blob, before *summary, wanted map[string]bool) (*summary, error) {
	k := readKey{b.key, b.reader, strings.Join(slices.Sorted(maps.Keys(wanted)), "\x00")}
	for {
		f, started := s.reads.join(k, func() (*summary, bool) {
			known, ok := s.layers.get(b.key)
			if ok && !known.has(wanted) {
				before, ok = known, false
			}
			return known, ok
		})
		if started {
			s.readShared(ctx, k, f, b, before, wanted)
		}
		of, err := f.wait(ctx, false)
		if !started && isContextError(err) && ctx.Err() == nil {
			continue // the one who read it was called off
		}
		return of, err
	}
}

// readShared reads a layer on behalf of all who wait for it.
func (s *Scanner) readShared(ctx context.Context, k readKey, f *flight[*summary], b blob, before *summary, wanted map[string]bool) {
	f.err = errPanic // stands if it ends without another
	defer s.reads.land(k, f, func(of *summary) { s.layers.add(b.key, of) })
	f.value, f.err = s.readLayer(ctx, b, before, wanted)
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// readLayer reads one layer: through its table of contents, or else in full.
func (s *Scanner) readLayer(ctx context.Context, b blob, before *summary, wanted map[string]bool) (*summary, error) {
	if b.part != nil && (before == nil || before.throughTable) {
		if of, err := s.readThroughTable(ctx, b, before, wanted); !errors.Is(err, errTable) {
			return of, err
		}
	}
	if before != nil && before.throughTable {
		before = nil // its table need not have told what the layer holds
	}
	return s.readInFull(ctx, b, before, wanted)
}

// wants says which files are analysed: those of names of interest, and those
// wanted.
func (s *Scanner) wants(wanted map[string]bool) func(name string) bool {
	return func(name string) bool {
		base := path.Base(name)
		return s.options.IsCandidate(base) || s.options.Libraries.is(base) || wanted[name]
	}
}

// readInFull streams one layer, verifies its digest, and analyses the files of
// interest in it.
func (s *Scanner) readInFull(ctx context.Context, b blob, before *summary, wanted map[string]bool) (*summary, error) {
	stored, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	// Three steps beside each other: download and hash, unpack, walk. Each is
	// ended after the one that it may wait for.
	verified := &verifier{r: stored, hash: sha256.New(), limit: s.options.Limits.LayerBytes}
	packed := newAhead(verified)
	closeStored := closeWith(ctx, stored)
	defer func() {
		closeStored()
		_ = packed.Close()
	}()
	unpacked, err := imagefs.Unpack(packed, s.options.Limits.Layer, s.window(ctx))
	if err != nil {
		return nil, orContext(ctx, err)
	}
	archive := newAhead(unpacked)
	defer func() {
		closeStored()
		_ = packed.Close()
		_ = archive.Close()
		_ = unpacked.Close()
	}()
	f := s.findings(before, b.others)
	defer f.wait()
	others := otherExecutables{scanner: s, fresh: f.fresh, analyses: &f.analyses}
	interest := imagefs.Interest{Wanted: s.wants(wanted)}
	switch {
	case !b.others:
	case before != nil:
		others.left = before.left // they were looked at then
	default:
		interest.Others = func(at imagefs.Source, a imagefs.Attributes, content io.Reader) error {
			return others.visit(ctx, at, a, content)
		}
	}
	interest.Visit = func(at imagefs.Source, a imagefs.Attributes, content io.Reader) error {
		return f.take(at, a, func() (*heldFile, error) { return s.hold(ctx, at.Path, a.Size, content) })
	}
	layer, err := imagefs.ReadLayerFor(archive, s.options.Limits.Layer, interest)
	if err != nil {
		return nil, orContext(ctx, err)
	}
	if _, err := io.Copy(io.Discard, packed); err != nil { // what follows the packed stream counts too
		return nil, orContext(ctx, err)
	}
	if sum := hex.EncodeToString(verified.hash.Sum(nil)); sum != b.digest.Hex || b.digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("%w: its content has the digest sha256:%s", imagefs.ErrMalformed, sum)
	}
	return &summary{layer: layer, files: f.all(), stored: verified.n, left: others.left}, nil
}

// verifier hashes what is read and bounds it.
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
