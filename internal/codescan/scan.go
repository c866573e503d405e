package codescan

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// Hit is an instruction and the address that it refers to.
type Hit struct {
	PC, Target uint64
	// From is the address of an earlier instruction that computed Target, 0 without
	// one.
	From uint64
}

// Query selects the results of one pass over the code.
type Query struct {
	// Entries selects kernel entries and header constants, Imports the uses of the
	// GOT slots of imported functions.
	Entries, Imports bool
	// targets are the addresses whose calls and jumps are reported.
	targets map[uint64]bool
	filter  *bloom
	// Slots are further slots whose uses are reported.
	Slots map[uint64]uint64
	// AddressTaken are addresses; instructions that compute one are reported.
	AddressTaken map[uint64]bool
	// Fragments are parts of functions; jumps from outside into their middle are
	// reported.
	Fragments []elffile.Span
	// Points are sorted addresses, for each of which the highest call target not
	// above it is reported.
	Points []uint64
	// CallTargets, if set, records every call target, Branches every call and jump.
	CallTargets *CallTargets
	Branches    *BranchIndex
	limit       int
}

// NewQuery returns an empty query.
func (p *Program) NewQuery() *Query {
	return &Query{targets: map[uint64]bool{}, filter: new(bloom), limit: p.sites}
}

// Want adds an address whose calls and jumps are reported.
func (q *Query) Want(target uint64) {
	q.targets[target] = true
	q.filter.add(target)
}

// addressTaken records an instruction that computes an address.
func (f *Findings) addressTaken(q *Query, pc, target uint64) {
	if _, wanted := q.AddressTaken[target]; wanted {
		f.AddressTaken = append(f.AddressTaken, Hit{PC: pc, Target: target})
	}
}

// branches reports whether the query needs calls and jumps.
func (q *Query) branches() bool {
	return len(q.targets)+len(q.Fragments)+len(q.Points) > 0 || q.CallTargets != nil || q.Branches != nil
}

// Findings are the results of one pass.
type Findings struct {
	Entries []uint64
	// Slots are the uses of a GOT slot outside of PLT entries.
	Slots []Hit
	// AddressTaken are the instructions that compute one of the query's addresses.
	AddressTaken []Hit
	// PLT are the possible starts of PLT entries, with their slots.
	PLT []Hit // stub and slot
	// HeaderConstants are instructions, or bytes in one, that hold a header version.
	HeaderConstants []uint64
	Calls           []Hit
	Jumps           []Hit
	starts          []uint64 // parallel to Query.Points
	// Overflow reports whether the limit left out results.
	Overflow bool
}

// full reports whether the limit is reached.
func (f *Findings) full(q *Query) bool {
	if len(f.Entries)+len(f.Slots)+len(f.PLT)+len(f.Calls)+len(f.Jumps)+len(f.HeaderConstants)+len(f.AddressTaken) < q.limit {
		return false
	}
	f.Overflow = true
	return true
}

// branch records a call or jump.
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
		// The running maximum over later points is taken in Program.finish.
		if i, _ := slices.BinarySearch(q.Points, target); i < len(q.Points) && target > f.starts[i] {
			f.starts[i] = target
		}
	}
}
