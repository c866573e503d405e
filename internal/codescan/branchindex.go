package codescan

import "github.com/capvet/capvet/internal/elffile"

// BranchIndex lists all direct calls and jumps, which saves later passes over the code.
type BranchIndex struct {
	base   uint64
	blocks [][]branch
	count  int
}

// branch is a call or jump, relative to base. target is shifted left; its low bit marks a call.
type branch struct {
	at, target uint32
}

const (
	maxIndexedCode = 1 << 30 // bytes of code
	maxBranches    = 4 << 20
	branchBlock    = 1 << 13 // branches per allocation
)

// NewBranchIndex returns an empty index, or nil if the code is empty or spans more
// than maxIndexedCode bytes.
func NewBranchIndex(code []elffile.Span) *BranchIndex {
	hull := hullOf(code)
	if len(code) == 0 || hull.End-hull.Start > maxIndexedCode {
		return nil
	}
	return &BranchIndex{base: hull.Start}
}

// hullOf returns the smallest range around the code.
func hullOf(code []elffile.Span) elffile.Span {
	hull := elffile.Span{Start: ^uint64(0)}
	for _, r := range code {
		hull.Start, hull.End = min(hull.Start, r.Start), max(hull.End, r.End)
	}
	return hull
}

// add records a call or jump, except one that leaves the code.
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

// complete reports whether the index holds all branches.
func (t *BranchIndex) complete() bool { return t != nil && t.count < maxBranches }

// replay runs a query for calls and jumps on the index instead of the code.
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
