package codescan

import (
	"cmp"
	"debug/elf"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// Program is the code of one file. It is not safe for concurrent use.
type Program struct {
	file      *elffile.File
	machine   *isa.Machine
	Functions *elffile.Functions
	// callTargets and index are the latest recordings of a pass.
	callTargets *CallTargets
	index       *BranchIndex
	local       map[uint64]uint64 // results of LocalTarget
	buf         []byte
	limit       int
	// Overflow reports whether the results of any pass reached the limit.
	Overflow bool
}

// NewProgram returns the code of a file of a supported machine. limit bounds the results of a pass.
func NewProgram(f *elffile.File, limit int) *Program {
	return &Program{file: f, machine: f.Machine, Functions: elffile.NewFunctions(f), local: map[uint64]uint64{}, limit: limit}
}

// Scan makes a pass over the ranges.
func (p *Program) Scan(q *Query, ranges []elffile.Span) Findings {
	out := Findings{starts: make([]uint64, len(q.Points))}
	if p.buf == nil {
		p.buf = make([]byte, scanChunk+scanOverlap+scanPadding)
	}
	for _, r := range ranges {
		off, avail := p.file.InFile(r.Start)
		size := min(r.End-r.Start, avail)
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
	p.callTargets, p.index = cmp.Or(q.CallTargets, p.callTargets), cmp.Or(q.Branches, p.index)
	return out
}

// Branches runs a query for calls and jumps on all code, or on a complete index of it.
func (p *Program) Branches(q *Query) Findings {
	if !p.index.complete() {
		return p.Scan(q, p.file.Code)
	}
	out := p.index.replay(q)
	p.finish(q, &out)
	return out
}

// finish adds the results that depend on more than one chunk.
func (p *Program) finish(q *Query, out *Findings) {
	newScanner(p, q).finish(q, out)
	p.Overflow = p.Overflow || out.full(q)
	for i := 1; i < len(out.starts); i++ {
		out.starts[i] = max(out.starts[i], out.starts[i-1])
	}
}

var headerVersions = [...]uint32{report.HeaderV1, report.HeaderV2, report.HeaderV3}

// Sizes in bytes.
const (
	scanChunk   = 256 << 10
	scanOverlap = 64 // bytes of the next chunk after a chunk
	scanPadding = 16 // zero bytes after the last chunk
)

// scanner searches the code of one architecture.
type scanner interface {
	// chunk searches the first n bytes of b, which are at pc. The rest of b is the
	// start of the next chunk and padding.
	chunk(q *Query, out *Findings, b []byte, n int, pc uint64)
	// finish adds results after the last chunk.
	finish(q *Query, out *Findings)
}

// newScanner returns the scanner of the program's machine.
func newScanner(p *Program, q *Query) scanner {
	switch p.machine.ELF {
	case elf.EM_X86_64:
		return newScannerAMD64(p, q)
	case elf.EM_AARCH64:
		return newScannerARM64(p, q)
	}
	return nil
}
