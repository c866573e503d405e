package codescan

import (
	"github.com/capvet/capvet/internal/elffile"
)

// BranchIndex is every call and jump of the code, so that looking for callers
// again does not need another pass over it.
type BranchIndex struct {
	base   uint64
	blocks [][]branch
	count  int
}

// branch is a call or jump between two places, relative to the base: target
// is shifted left by one, with 1 added for a call.
type branch struct {
	at, target uint32
}

const (
	maxIndexedCode = 1 << 30 // bytes of code that a list is kept of
	maxBranches    = 4 << 20 // that it holds, of 8 bytes
	branchBlock    = 1 << 13 // that are allocated at a time
)

// NewBranchIndex returns an empty list, nil when the code is too much for one.
func NewBranchIndex(code []elffile.Span) *BranchIndex {
	if len(code) == 0 {
		return nil
	}
	t := &BranchIndex{base: code[0].Start}
	end := code[0].End
	for _, r := range code {
		t.base, end = min(t.base, r.Start), max(end, r.End)
	}
	if end-t.base > maxIndexedCode {
		return nil
	}
	return t
}

// add takes up a call or jump. One that leads out of the code is none.
func (t *BranchIndex) add(pc, target uint64, call bool) {
	if t.count >= maxBranches || target-t.base >= maxIndexedCode {
		return
	}
	if t.count%branchBlock == 0 {
		t.blocks = append(t.blocks, make([]branch, 0, branchBlock))
	}
	t.count++
	e := branch{uint32(pc - t.base), uint32(target-t.base) << 1}
	if call {
		e.target |= 1
	}
	last := &t.blocks[len(t.blocks)-1]
	*last = append(*last, e)
}

// whole says that nothing was left out.
func (t *BranchIndex) whole() bool { return t != nil && t.count < maxBranches }

// replay answers a query for calls and jumps as a pass over the code would.
func (t *BranchIndex) replay(q *Query) Findings {
	out := Findings{starts: make([]uint64, len(q.Points))}
	for _, block := range t.blocks {
		for _, e := range block {
			out.branch(q, t.base+uint64(e.at), t.base+uint64(e.target>>1), e.target&1 == 1)
		}
		if out.full(q) {
			break
		}
	}
	return out
}
