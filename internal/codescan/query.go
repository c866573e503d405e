package codescan

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// Query selects the results of a pass over the code.
type Query struct {
	// Entries selects system call instructions and header constants, Imports the
	// uses of GOT slots of imported functions.
	Entries, Imports bool
	// targets selects calls and jumps by their target. filter contains its keys.
	targets map[uint64]bool
	filter  *bloom
	// Slots selects loads of GOT slots. The values are functions.
	Slots map[uint64]uint64
	// AddressTaken selects instructions that compute one of the addresses.
	AddressTaken map[uint64]bool
	// fragments are those of Fragments, sorted.
	fragments []elffile.Span
	// Points are sorted addresses. For each, the pass finds the highest call target
	// at or below it.
	Points []uint64
	// CallTargets and Branches, if not nil, record all call targets and branches.
	CallTargets *CallTargets
	Branches    *BranchIndex
	limit       int
}

// NewQuery returns an empty query.
func (p *Program) NewQuery() *Query {
	return &Query{targets: map[uint64]bool{}, filter: new(bloom), limit: p.limit}
}

// Want selects calls and jumps to target.
func (q *Query) Want(target uint64) {
	q.targets[target] = true
	q.filter.add(target)
}

// Fragments selects jumps from outside into the middle of one of the ranges.
func (q *Query) Fragments(ranges []elffile.Span) {
	slices.SortFunc(ranges, func(a, b elffile.Span) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	q.fragments = slices.Compact(ranges)
}

// branches reports whether the query needs calls and jumps.
func (q *Query) branches() bool {
	return len(q.targets)+len(q.fragments)+len(q.Points) > 0 || q.CallTargets != nil || q.Branches != nil
}

// Hit is an instruction and the address that it refers to.
type Hit struct {
	PC, Target uint64
	// From is the adrp instruction for the page of a slot (arm64), or 0.
	From uint64
}

// Findings are the results of a pass, in no particular order.
type Findings struct {
	Entries         []uint64
	Slots           []Hit // uses of GOT slots outside of PLT entries
	AddressTaken    []Hit
	PLT             []Hit // possible start of a PLT entry and its GOT slot
	HeaderConstants []uint64
	Calls           []Hit
	Jumps           []Hit
	starts          []uint64 // the call targets of Query.Points
}

// full reports whether the results reached the limit.
func (f *Findings) full(q *Query) bool {
	n := len(f.Entries) + len(f.Slots) + len(f.PLT) + len(f.Calls) + len(f.Jumps) + len(f.HeaderConstants) + len(f.AddressTaken)
	return n >= q.limit
}

// addressTaken records an instruction that computes an address.
func (f *Findings) addressTaken(q *Query, pc, target uint64) {
	if _, wanted := q.AddressTaken[target]; wanted {
		f.AddressTaken = append(f.AddressTaken, Hit{PC: pc, Target: target})
	}
}

// branch records a call or jump.
func (f *Findings) branch(q *Query, pc, target uint64, call bool) {
	if q.Branches != nil {
		q.Branches.add(pc, target, call)
	}
	if q.filter.mayContain(target) && q.targets[target] {
		f.Calls = append(f.Calls, Hit{PC: pc, Target: target})
	}
	if !call {
		if len(q.fragments) > 0 {
			// The last one that starts below the target: functions do not overlap.
			i, _ := slices.BinarySearchFunc(q.fragments, target, func(s elffile.Span, at uint64) int { return cmp.Compare(s.Start, at) })
			if s := q.fragments[max(i-1, 0)]; target > s.Start && target < s.End && !s.Holds(pc) {
				f.Jumps = append(f.Jumps, Hit{PC: pc, Target: target})
			}
		}
		return
	}
	q.CallTargets.set(target)
	if len(q.Points) > 0 {
		// The first point at or above the target. finish propagates to later points.
		if i, _ := slices.BinarySearch(q.Points, target); i < len(q.Points) && target > f.starts[i] {
			f.starts[i] = target
		}
	}
}

// bloom is a Bloom filter of 65,536 bits with one hash function.
type bloom [1024]uint64

func (b *bloom) add(v uint64) { i := bloomHash(v); b[i>>6] |= 1 << (i & 63) }

// mayContain reports false only if v was not added.
func (b *bloom) mayContain(v uint64) bool {
	i := bloomHash(v)
	return b[i>>6]>>(i&63)&1 != 0
}

func bloomHash(v uint64) uint64 { return bits.RotateLeft64(v*0x9e3779b97f4a7c15, 16) & 0xffff }
