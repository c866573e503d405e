package codescan

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// Hit is one place of interest in the code and what it refers to.
type Hit struct {
	PC, Target uint64
	// From is where the address was computed, when that is elsewhere.
	From uint64
}

// Query is what one pass over the code looks for.
type Query struct {
	// Entries asks for kernel entries and header constants, imports for uses of
	// import slots.
	Entries, Imports bool
	// targets are addresses whose calls, jumps and takings are wanted.
	targets map[uint64]bool
	filter  *bloom
	// Slots are addresses of data whose use is wanted, as that of import slots.
	Slots map[uint64]uint64
	// AddressTaken are addresses of code whose taking is wanted.
	AddressTaken map[uint64]bool
	// Fragments are ranges; jumps into their middle are wanted.
	Fragments []elffile.Span
	// Points are places whose function's start is not known: the highest call
	// target not above each is wanted.
	Points []uint64
	// CallTargets records every call target, list every call and jump.
	CallTargets *CallTargets
	Branches    *BranchIndex
	limit       int
}

// NewQuery returns an empty query.
func (p *Program) NewQuery() *Query {
	return &Query{targets: map[uint64]bool{}, filter: new(bloom), limit: p.sites}
}

func (q *Query) Want(target uint64) {
	q.targets[target] = true
	q.filter.add(target)
}

// addressTaken notes a place that computes an address.
func (f *Findings) addressTaken(q *Query, pc, target uint64) {
	if _, wanted := q.AddressTaken[target]; wanted {
		f.AddressTaken = append(f.AddressTaken, Hit{PC: pc, Target: target})
	}
}

// branches says that calls and jumps are wanted.
func (q *Query) branches() bool {
	return len(q.targets)+len(q.Fragments)+len(q.Points) > 0 || q.CallTargets != nil || q.Branches != nil
}

// Findings is what a pass found, in address order.
type Findings struct {
	Entries []uint64
	Slots   []Hit // uses of an import slot that are not in a stub
	// AddressTaken are places that compute a wanted address.
	AddressTaken    []Hit
	PLT             []Hit // stub and slot
	HeaderConstants []uint64
	Calls           []Hit
	Jumps           []Hit
	starts          []uint64 // parallel to query.points
	// Overflow says that more was there than the limit allows.
	Overflow bool
}

func (f *Findings) full(q *Query) bool {
	if len(f.Entries)+len(f.Slots)+len(f.PLT)+len(f.Calls)+len(f.Jumps)+len(f.HeaderConstants)+len(f.AddressTaken) < q.limit {
		return false
	}
	f.Overflow = true
	return true
}

// branch notes a call or jump.
func (f *Findings) branch(q *Query, pc, target uint64, call bool) {
	if q.Branches != nil {
		q.Branches.add(pc, target, call)
	}
	if q.filter.may(target) && q.targets[target] {
		f.Calls = append(f.Calls, Hit{PC: pc, Target: target})
	}
	if !call {
		for _, s := range q.Fragments[:min(len(q.Fragments), maxFragments)] {
			if target > s.Start && target < s.End && !s.Holds(pc) {
				f.Jumps = append(f.Jumps, Hit{PC: pc, Target: target})
			}
		}
		return
	}
	q.CallTargets.set(target)
	if len(q.Points) > 0 {
		// Points are sorted: note the target at the first one not below it.
		if i, _ := slices.BinarySearch(q.Points, target); i < len(q.Points) && target > f.starts[i] {
			f.starts[i] = target
		}
	}
}
