package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// otherExecutables looks at the executables of one layer that no name speaks
// for, as they go by.
type otherExecutables struct {
	scanner  *Scanner
	fresh    map[imagefs.Source]*found
	analyses *errgroup.Group

	count int
	bytes int64
	left  string // why some were left out; empty: none was
}

// elfHead is as much of an ELF file as tells what kind it is.
const elfHead = 18

// program reports whether a file that begins like that is an executable or a
// library: what is linked, in either byte order.
func program(head []byte) bool {
	if string(head[:len(elfMagic)]) != elfMagic {
		return false
	}
	kind := head[16] | head[17] // ET_EXEC or ET_DYN (elf(5)), whose other byte is zero
	return (kind == 2 || kind == 3) && (head[16] == 0 || head[17] == 0)
}

// visit implements imagefs.Visit.
func (o *otherExecutables) visit(ctx context.Context, at imagefs.Source, a imagefs.Attributes, content io.Reader) error {
	delete(o.fresh, at) // an earlier file of the path
	if a.Size < elfHead {
		return nil
	}
	head := make([]byte, elfHead)
	if _, err := io.ReadFull(content, head); err != nil {
		return err
	}
	if !program(head) {
		return nil
	}
	limits := o.scanner.options.Limits
	switch {
	case o.left != "":
		return nil
	case o.count >= limits.Executables:
		o.left = fmt.Sprintf("the layer has more than %d executables and libraries", limits.Executables)
		return nil
	case a.Size > limits.FileBytes:
		o.count++
		f := tooLarge(a.Size, limits.FileBytes)
		f.other = true
		o.fresh[at] = &f
		return nil
	case a.Size > limits.ExecutableBytes-o.bytes:
		o.left = fmt.Sprintf("the layer's executables and libraries have more than %d bytes", limits.ExecutableBytes)
		return nil
	}
	o.count++
	o.bytes += a.Size
	held, err := o.scanner.hold(ctx, at.Path, a.Size, io.MultiReader(bytes.NewReader(head), content))
	if err != nil {
		return err
	}
	f := &found{other: true}
	o.fresh[at] = f
	o.analyses.Go(func() error {
		defer held.release()
		*f = o.scanner.other(held, at.Path)
		f.binary.FileCapabilities = a.Capabilities
		return nil
	})
	return nil
}

// other has one of the others analysed.
func (s *Scanner) other(h *heldFile, name string) (f found) {
	defer func() {
		if p := recover(); p != nil {
			f = found{err: errors.New("the analysis failed inside capvet"), elf: true, other: true}
		}
	}()
	binary, ok, err := s.options.Other(h, h.size, name)
	return found{binary: binary, err: err, elf: ok || err != nil, other: true}
}

// kept reports whether there is something to say of a file.
func (f *found) kept() bool { return !f.other || f.elf }

// isOther reports whether there is something to say of a file that was looked at
// for its name: for another image that shares the layer it may be one of the
// others.
func (s *Scanner) isOther(h *heldFile, name string) (other bool) {
	defer func() {
		if p := recover(); p != nil {
			other = true
		}
	}()
	_, ok, err := s.options.Other(h, h.size, name)
	return ok || err != nil
}

// others returns the other executables that the tree shows, each under one of
// its paths, the worst first. byPath are the candidates so far.
func (s stack) others(ctx context.Context, tree imagefs.Tree, byPath map[string]candidate) ([]candidate, error) {
	type place struct {
		layer int
		at    imagefs.Source
	}
	looked := map[place]bool{}
	paths := map[string]bool{}
	for i, of := range s.summaries {
		for at, f := range of.files {
			if f.other {
				looked[place{i, at}], paths[at.Path] = true, true
			}
		}
	}
	for _, c := range byPath {
		delete(looked, place{c.Layer, c.Source})
	}
	if len(looked) == 0 {
		return nil, nil
	}
	var others []candidate
	add := func() error {
		for _, name := range slices.Sorted(maps.Keys(paths)) {
			if err := ctx.Err(); err != nil { // hostile links make each look-up slow
				return err
			}
			f, ok := tree.Lookup(name)
			if p := (place{f.Layer, f.Source}); ok && looked[p] {
				delete(looked, p)
				others = append(others, candidate{File: f})
			}
		}
		return nil
	}
	if err := add(); err != nil {
		return nil, err
	}
	if len(looked) > 0 { // what does not show under its own path may under another
		links := tree.HardLinks()
		for range maxLinkChain {
			for target, names := range links {
				for _, name := range names {
					paths[name] = paths[name] || paths[target]
				}
			}
		}
		maps.DeleteFunc(paths, func(_ string, leads bool) bool { return !leads })
		if err := add(); err != nil {
			return nil, err
		}
	}
	abi := func(c candidate) report.ABI {
		if f := s.summaries[c.Layer].files[c.Source]; f.err == nil {
			return f.binary.Capset.ABI
		}
		return report.ABIUnknown
	}
	slices.SortFunc(others, func(a, b candidate) int {
		switch x, y := abi(a), abi(b); {
		case x == y:
			return strings.Compare(a.Path, b.Path)
		case report.WorseABI(x, y) == x:
			return -1
		}
		return 1
	})
	return others, nil
}

// maxLinkChain is how many hard links are followed that name each other.
const maxLinkChain = 4
