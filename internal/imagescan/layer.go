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

	"golang.org/x/sync/errgroup"

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

// readLayer streams one layer, verifies its digest, and analyses the files of
// interest in it.
func (s *Scanner) readLayer(ctx context.Context, b blob, before *summary, wanted map[string]bool) (*summary, error) {
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
	unpacked, err := imagefs.Unpack(packed, s.options.Limits.Layer, func(n int64) (func(), error) {
		return s.windows.acquire(ctx, n)
	})
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
	// A layer that is read again is the same byte for byte: what was analysed
	// stands.
	known, fresh := before.known(), map[imagefs.Source]*found{}
	var analyses errgroup.Group
	analyses.SetLimit(analysesAtOnce)
	defer func() { _ = analyses.Wait() }()
	isWanted := func(name string) bool {
		base := path.Base(name)
		return s.options.IsCandidate(base) || s.options.Libraries.is(base) || wanted[name]
	}
	others := otherExecutables{scanner: s, fresh: fresh, analyses: &analyses}
	interest := imagefs.Interest{Wanted: isWanted}
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
		if _, ok := known[at]; ok {
			return nil
		}
		f := &found{}
		fresh[at] = f // in the place of an earlier file of the path
		if limit := s.options.Limits.FileBytes; a.Size > limit {
			*f = tooLarge(a.Size, limit)
			f.other = b.others
			return nil
		}
		held, err := s.hold(ctx, at.Path, a.Size, content)
		if err != nil {
			return err
		}
		analyses.Go(func() error {
			other := b.others && !s.options.Libraries.is(path.Base(at.Path)) && s.isOther(held, at.Path)
			*f = s.analyse(held, at.Path)
			f.other = other
			f.binary.FileCapabilities = a.Capabilities
			return nil
		})
		return nil
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
	_ = analyses.Wait() // an analysis that fails is a finding
	for at, f := range fresh {
		if f.kept() {
			known[at] = *f
		}
	}
	return &summary{layer: layer, files: known, stored: verified.n, left: others.left}, nil
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
