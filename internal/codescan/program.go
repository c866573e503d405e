package codescan

import (
	"debug/elf"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// Program is the code of one file. It is not safe for concurrent use.
type Program struct {
	file      *elffile.File
	machine   *isa.Machine
	Functions *elffile.Functions
	// callTargets and index are those of the last pass that recorded them.
	callTargets *CallTargets
	index       *BranchIndex
	// local caches LocalTarget.
	local map[uint64]uint64
	buf   []byte
	sites int // the most places that one pass collects
}

// NewProgram returns the code of a file with a known machine. sites is the largest
// number of results of one pass.
func NewProgram(f *elffile.File, sites int) *Program {
	return &Program{file: f, machine: f.Machine, Functions: elffile.NewFunctions(f), local: map[uint64]uint64{}, sites: sites}
}

// Scan makes one pass over the ranges of code.
func (p *Program) Scan(q *Query, ranges []elffile.Span) Findings {
	out := Findings{starts: make([]uint64, len(q.Points))}
	if p.buf == nil {
		p.buf = make([]byte, scanChunk+scanOverlap+scanPadding)
	}
	for _, r := range ranges {
		off, room := p.file.InFile(r.Start)
		size := min(r.End-r.Start, room)
		s := newScanner(p, q)
		for done := uint64(0); done < size && !out.full(q); {
			n := min(size-done, scanChunk)
			total := min(size-done, n+scanOverlap)
			b := p.buf[:total+scanPadding]
			clear(b[total:])
			if p.file.ReadAt(b[:total], off+done) != nil {
				break
			}
			s.chunk(q, &out, b, int(n), r.Start+done)
			done += n
		}
	}
	p.finish(q, &out)
	if q.CallTargets != nil {
		p.callTargets = q.CallTargets
	}
	if q.Branches != nil {
		p.index = q.Branches
	}
	return out
}

// Branches answers a query for calls and jumps, from the index of an earlier pass if
// it is complete.
func (p *Program) Branches(q *Query) Findings {
	if !p.index.whole() {
		return p.Scan(q, p.file.Code)
	}
	out := p.index.replay(q)
	p.finish(q, &out)
	return out
}

// finish completes the results of all chunks.
func (p *Program) finish(q *Query, out *Findings) {
	newScanner(p, q).finish(q, out)
	for i := 1; i < len(out.starts); i++ {
		out.starts[i] = max(out.starts[i], out.starts[i-1])
	}
}

// Sizes of a pass, in bytes.
const (
	scanChunk = 256 << 10
	// maxFragments is the number of fragments that one pass observes.
	maxFragments = 64
	// scanOverlap is the part of the next chunk that is visible to a scanner.
	scanOverlap = 64
	// scanPadding is the number of zero bytes behind the last chunk.
	scanPadding = 16
)

// scanner searches the code of one architecture.
type scanner interface {
	// chunk searches n bytes at pc. b extends beyond them.
	chunk(q *Query, out *Findings, b []byte, n int, pc uint64)
	// finish searches for anything that chunk leaves out.
	finish(q *Query, out *Findings)
}

// newScanner returns the scanner of the program's machine, nil without one. A test
// demands a scanner for each machine of package isa.
func newScanner(p *Program, q *Query) scanner {
	switch p.machine.ELF {
	case elf.EM_X86_64:
		return newScannerAMD64(p, q)
	case elf.EM_AARCH64:
		return newScannerARM64(p, q)
	}
	return nil
}

// Group is a function and addresses in it, sorted.
type Group struct {
	Span  elffile.Span
	exact bool // the bounds are from a table
	Sites []uint64
}

// GroupSites groups addresses by function. Addresses outside of any function are
// left out.
func (p *Program) GroupSites(sites []uint64) []Group {
	slices.Sort(sites)
	sites = slices.Compact(sites)
	var groups []Group
	var lost []uint64
	for _, pc := range sites {
		if n := len(groups); n > 0 && groups[n-1].Span.Holds(pc) && groups[n-1].exact {
			groups[n-1].Sites = append(groups[n-1].Sites, pc)
			continue
		}
		s, exact := p.Functions.At(pc)
		if s.End == 0 {
			lost = append(lost, pc)
			continue
		}
		groups = append(groups, Group{s, exact, []uint64{pc}})
	}
	return append(groups, p.locate(lost)...)
}
