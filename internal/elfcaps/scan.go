package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// hit is one place of interest in the code and what it refers to.
type hit struct {
	pc, target uint64
	// from is where the address was computed, when that is elsewhere.
	from uint64
}

// query is what one pass over the code looks for.
type query struct {
	// first asks for kernel entries and header constants, imports for uses of
	// import slots.
	first, imports bool
	// targets are addresses whose calls, jumps and takings are wanted.
	targets map[uint64]bool
	filter  *bloom
	// slots are addresses of data whose use is wanted, as that of import slots.
	slots map[uint64]uint64
	// takings are addresses of code whose taking is wanted.
	takings map[uint64]bool
	// fragments are ranges; jumps into their middle are wanted.
	fragments []elffile.Span
	// points are places whose function's start is not known: the highest call
	// target not above each is wanted.
	points []uint64
	// marks records every call target, list every call and jump.
	marks *callMarks
	list  *transfers
	limit int
}

// newQuery returns an empty query.
func (p *program) newQuery() *query {
	return &query{targets: map[uint64]bool{}, filter: new(bloom), limit: p.sites}
}

func (q *query) want(target uint64) {
	q.targets[target] = true
	q.filter.add(target)
}

// taking notes a place that computes an address.
func (f *findings) taking(q *query, pc, target uint64) {
	if _, wanted := q.takings[target]; wanted {
		f.takings = append(f.takings, hit{pc: pc, target: target})
	}
}

// transfers says that calls and jumps are wanted.
func (q *query) transfers() bool {
	return len(q.targets)+len(q.fragments)+len(q.points) > 0 || q.marks != nil || q.list != nil
}

// findings is what a pass found, in address order.
type findings struct {
	kernel []uint64
	slots  []hit // uses of an import slot that are not in a stub
	// takings are places that compute a wanted address.
	takings []hit
	stubs   []hit // stub and slot
	consts  []uint64
	calls   []hit
	jumps   []hit
	starts  []uint64 // parallel to query.points
	// overflow says that more was there than the limit allows.
	overflow bool
}

func (f *findings) full(q *query) bool {
	if len(f.kernel)+len(f.slots)+len(f.stubs)+len(f.calls)+len(f.jumps)+len(f.consts)+len(f.takings) < q.limit {
		return false
	}
	f.overflow = true
	return true
}

// transfer notes a call or jump.
func (f *findings) transfer(q *query, pc, target uint64, call bool) {
	if q.list != nil {
		q.list.add(pc, target, call)
	}
	if q.filter.may(target) && q.targets[target] {
		f.calls = append(f.calls, hit{pc: pc, target: target})
	}
	if !call {
		for _, s := range q.fragments[:min(len(q.fragments), maxFragments)] {
			if target > s.Start && target < s.End && !s.Holds(pc) {
				f.jumps = append(f.jumps, hit{pc: pc, target: target})
			}
		}
		return
	}
	q.marks.set(target)
	if len(q.points) > 0 {
		// Points are sorted: note the target at the first one not below it.
		if i, _ := slices.BinarySearch(q.points, target); i < len(q.points) && target > f.starts[i] {
			f.starts[i] = target
		}
	}
}
