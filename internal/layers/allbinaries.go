package layers

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// screening screens the executables of one layer that no name selects, as they
// go by.
type screening struct {
	reader   *Reader
	analyses *analyses

	count   int
	bytes   int64
	skipped string // why some were not screened; empty if all were
}

// elfTypeEnd is the end of the field e_type of an ELF header, in bytes.
const elfTypeEnd = elf.EI_NIDENT + 2

// isLinked reports whether an ELF header is that of a linked file, an executable
// or a library, in either byte order.
func isLinked(header []byte) bool {
	if !bytes.HasPrefix(header, []byte(elf.ELFMAG)) {
		return false
	}
	low, high := header[elf.EI_NIDENT], header[elf.EI_NIDENT+1]
	kind := elf.Type(low | high) // both types fit in a byte: the other one is zero
	return (kind == elf.ET_EXEC || kind == elf.ET_DYN) && (low == 0 || high == 0)
}

func (s *screening) visit(ctx context.Context, at imagefs.Source, attributes imagefs.Attributes, content io.Reader) error {
	fresh, limits := s.analyses.fresh, s.reader.Limits
	delete(fresh, at) // an earlier file of the path
	if attributes.Size < elfTypeEnd {
		return nil
	}
	header := make([]byte, elfTypeEnd)
	if _, err := io.ReadFull(content, header); err != nil {
		return err
	}
	if !isLinked(header) {
		return nil
	}
	switch {
	case s.skipped != "":
		return nil
	case s.count >= limits.Executables:
		s.skipped = fmt.Sprintf("the layer has more than %d executables and libraries", limits.Executables)
		return nil
	case attributes.Size > limits.FileBytes:
		s.count++
		result := tooLarge(attributes.Size, limits.FileBytes)
		result.screened = true
		fresh[at] = &result
		return nil
	case attributes.Size > limits.ExecutableBytes-s.bytes:
		s.skipped = fmt.Sprintf("the layer's executables and libraries have more than %d bytes", limits.ExecutableBytes)
		return nil
	}
	s.count++
	s.bytes += attributes.Size
	f, err := s.reader.spool(ctx, at.Path, attributes.Size, io.MultiReader(bytes.NewReader(header), content))
	if err != nil {
		return err
	}
	result := &fileResult{screened: true}
	fresh[at] = result
	s.analyses.group.Go(func() error {
		defer f.release()
		var passes bool
		result.binary, passes, result.err = s.reader.screen(f, at.Path)
		result.elf = passes || result.err != nil
		result.binary.FileCapabilities = attributes.Capabilities
		if result.elf && !s.analyses.fits(result) {
			*result = fileResult{screened: true}
			s.analyses.full.Store(true)
		}
		return nil
	})
	return nil
}

// omission waits for the analyses, and returns why some executables were not
// screened; empty if all were.
func (s *screening) omission() string {
	s.analyses.wait()
	if s.skipped == "" && s.analyses.full.Load() {
		return fmt.Sprintf("the results on the layer's executables and libraries take more than %d bytes of memory", s.reader.Limits.ResultBytes)
	}
	return s.skipped
}

func (r *Reader) screen(f *spooledFile, name string) (_ report.Binary, passes bool, err error) {
	defer catchPanic(&err)
	return r.Inspector.Screen(f, f.size, name)
}

// screened returns the visible executables that only the screening selected,
// each under one of its paths, the worst first. named are the files already
// selected, by path.
func (s stack) screened(ctx context.Context, tree imagefs.Tree, named map[string]candidate) ([]candidate, error) {
	type location struct {
		layer  int
		source imagefs.Source
	}
	remaining := map[location]bool{}
	paths := map[string]bool{}
	for i, summary := range s.summaries {
		for at, result := range summary.files {
			if result.screened {
				remaining[location{i, at}], paths[at.Path] = true, true
			}
		}
	}
	for _, c := range named {
		delete(remaining, location{c.Layer, c.Source})
	}
	if len(remaining) == 0 {
		return nil, nil
	}
	var found []candidate
	lookUp := func(names []string) error {
		slices.Sort(names)
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, ok := tree.Lookup(name)
			if l := (location{f.Layer, f.Source}); ok && remaining[l] {
				delete(remaining, l)
				found = append(found, candidate{File: f})
			}
		}
		return nil
	}
	own := slices.Collect(maps.Keys(paths))
	if err := lookUp(own); err != nil {
		return nil, err
	}
	if len(remaining) > 0 { // hidden under their own paths, perhaps visible under hard links
		links := tree.HardLinks()
		var others []string
		for next := own; len(next) > 0; { // each path once
			target := next[len(next)-1]
			next = next[:len(next)-1]
			for _, name := range links[target] {
				if !paths[name] {
					paths[name] = true
					next, others = append(next, name), append(others, name)
				}
			}
		}
		if err := lookUp(others); err != nil {
			return nil, err
		}
	}
	abi := func(c candidate) report.ABI {
		if result := s.result(c.File); result.err == nil {
			return result.binary.Capset.ABI
		}
		return report.ABIUnknown
	}
	slices.SortFunc(found, func(a, b candidate) int {
		switch x, y := abi(a), abi(b); {
		case x == y:
			return strings.Compare(a.Path, b.Path)
		case report.WorseABI(x, y) == x:
			return -1
		}
		return 1
	})
	return found, nil
}
