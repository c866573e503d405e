package codescan

import "github.com/capvet/capvet/internal/elffile"

// BranchIndex lists every call and jump of the code, so that a later search for
// callers needs no pass of its own.
type BranchIndex struct {
	base   uint64
	blocks [][]branch
	count  int
}

// branch is a call or jump, relative to the base of the index. target is shifted
// left by one bit, which is set for a call.
type branch struct {
	at, target uint32
}

const (
	maxIndexedCode = 1 << 30 // span of the indexed code, in bytes
	maxBranches    = 4 << 20 // entries, of 8 bytes
	branchBlock    = 1 << 13 // entries of one allocation
)

// NewBranchIndex returns an empty index, nil when the code spans more than 1 GiB.
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

// add records a call or jump, unless its target lies outside of the code.
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

// whole reports whether the index is complete.
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
