package elfcaps

import (
	"debug/elf"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// program is the code of one file. It is not safe for concurrent use.
type program struct {
	f   *elffile.File
	m   *isa.Machine
	fns *elffile.Functions
	// marks and list are those of the last pass that recorded them.
	marks *callMarks
	list  *transfers
	// local holds the results of localTarget.
	local map[uint64]uint64
	buf   []byte
	sites int // the most places that one pass collects
}

// newProgram returns the code of a file whose machine is read. sites is the most
// places that one pass collects.
func newProgram(f *elffile.File, sites int) *program {
	return &program{f: f, m: f.Machine, fns: elffile.NewFunctions(f), local: map[uint64]uint64{}, sites: sites}
}

// scan makes one pass over the ranges of code.
func (p *program) scan(q *query, ranges []elffile.Span) findings {
	out := findings{starts: make([]uint64, len(q.points))}
	if p.buf == nil {
		p.buf = make([]byte, scanChunk+scanOverlap+scanPadding)
	}
	for _, r := range ranges {
		off, room := p.f.InFile(r.Start)
		size := min(r.End-r.Start, room)
		s := newScanner(p, q)
		for done := uint64(0); done < size && !out.full(q); {
			n := min(size-done, scanChunk)
			total := min(size-done, n+scanOverlap)
			b := p.buf[:total+scanPadding]
			clear(b[total:])
			if p.f.ReadAt(b[:total], off+done) != nil {
				break
			}
			s.chunk(q, &out, b, int(n), r.Start+done)
			done += n
		}
	}
	p.finish(q, &out)
	if q.marks != nil {
		p.marks = q.marks
	}
	if q.list != nil {
		p.list = q.list
	}
	return out
}

// branches answers a query for calls and jumps, from the list of an earlier pass
// if it is complete.
func (p *program) branches(q *query) findings {
	if !p.list.whole() {
		return p.scan(q, p.f.Code)
	}
	out := p.list.replay(q)
	p.finish(q, &out)
	return out
}

// finish adds the results that need all chunks.
func (p *program) finish(q *query, out *findings) {
	newScanner(p, q).finish(q, out)
	for i := 1; i < len(out.starts); i++ {
		out.starts[i] = max(out.starts[i], out.starts[i-1])
	}
}

const (
	scanChunk = 256 << 10
	// maxFragments is how many ranges one pass watches for jumps into them.
	maxFragments = 64
	// scanOverlap is how many bytes of the next chunk a scanner may look at.
	scanOverlap = 64
	// scanPadding is how many zero bytes stand behind the last chunk.
	scanPadding = 16
)

// scanner looks at the code of one machine.
type scanner interface {
	// chunk looks at n bytes at pc. b holds what follows as well.
	chunk(q *query, out *findings, b []byte, n int, pc uint64)
	// finish adds what chunk leaves out.
	finish(q *query, out *findings)
}

// newScanner returns the scanner of the program's machine, nil without one. A test
// demands one for each machine of package isa.
func newScanner(p *program, q *query) scanner {
	switch p.m.ELF {
	case elf.EM_X86_64:
		return newScannerAMD64(p, q)
	case elf.EM_AARCH64:
		return newScannerARM64(p, q)
	}
	return nil
}

// group is a function and places in it, sorted.
type group struct {
	span  elffile.Span
	exact bool // the bounds are from a table
	sites []uint64
}

// functionsOf groups places by the functions that hold them. A place outside of any
// function is left out.
func (p *program) functionsOf(sites []uint64) []group {
	slices.Sort(sites)
	sites = slices.Compact(sites)
	var groups []group
	var lost []uint64
	for _, pc := range sites {
		if n := len(groups); n > 0 && groups[n-1].span.Holds(pc) && groups[n-1].exact {
			groups[n-1].sites = append(groups[n-1].sites, pc)
			continue
		}
		s, exact := p.fns.At(pc)
		if s.End == 0 {
			lost = append(lost, pc)
			continue
		}
		groups = append(groups, group{s, exact, []uint64{pc}})
	}
	return append(groups, p.locate(lost)...)
}
