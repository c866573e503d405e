package codescan

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// Group is a function and sorted addresses of instructions in it.
type Group struct {
	Span  elffile.Span
	Sites []uint64
}

// GroupSites groups instructions by function. It drops sites outside of functions.
func (p *Program) GroupSites(sites []uint64) []Group {
	slices.Sort(sites)
	var groups []Group
	var rest []uint64
	for _, pc := range slices.Compact(sites) {
		if n := len(groups); n > 0 && groups[n-1].Span.Holds(pc) {
			groups[n-1].Sites = append(groups[n-1].Sites, pc)
		} else if s := p.Functions.At(pc); s.End != 0 {
			groups = append(groups, Group{s, []uint64{pc}})
		} else {
			rest = append(rest, pc)
		}
	}
	return append(groups, p.groupWithoutTable(rest)...)
}

// groupWithoutTable groups sites by function symbol, else from the nearest call target below.
func (p *Program) groupWithoutTable(sites []uint64) (groups []Group) {
	add := func(s elffile.Span, pc uint64) {
		if n := len(groups); n > 0 && groups[n-1].Span == s {
			groups[n-1].Sites = append(groups[n-1].Sites, pc)
		} else {
			groups = append(groups, Group{s, []uint64{pc}})
		}
	}
	if len(sites) == 0 {
		return nil
	}
	var rest []uint64
	for i, s := range p.file.FunctionSymbols(sites) {
		if s.End == 0 {
			rest = append(rest, sites[i])
		} else {
			add(s, sites[i])
		}
	}
	if len(rest) == 0 {
		return groups
	}
	starts := make([]uint64, len(rest))
	if p.callTargets != nil {
		for i, pc := range rest {
			starts[i] = p.callTargets.last(pc)
		}
	} else {
		q := p.NewQuery()
		q.Points = rest
		starts = p.Branches(q).starts
	}
	for i, pc := range rest {
		if s := p.Outline(pc, starts[i]); s.End != 0 {
			add(s, pc)
		}
	}
	return groups
}
