package codescan

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// Group is a function and sorted addresses of instructions in it.
type Group struct {
	Span  elffile.Span
	exact bool // the bounds come from a function table
	Sites []uint64
}

// GroupSites groups instructions by function. It drops sites outside of functions.
func (p *Program) GroupSites(sites []uint64) []Group {
	slices.Sort(sites)
	sites = slices.Compact(sites)
	var groups []Group
	var rest []uint64
	for _, pc := range sites {
		if n := len(groups); n > 0 && groups[n-1].Span.Holds(pc) && groups[n-1].exact {
			groups[n-1].Sites = append(groups[n-1].Sites, pc)
			continue
		}
		s, exact := p.Functions.At(pc)
		if s.End == 0 {
			rest = append(rest, pc)
			continue
		}
		groups = append(groups, Group{s, exact, []uint64{pc}})
	}
	return append(groups, p.groupWithoutTable(rest)...)
}

// groupWithoutTable groups sites by function symbol. The others are grouped by the
// function from the nearest call target below.
func (p *Program) groupWithoutTable(sites []uint64) (groups []Group) {
	if len(sites) == 0 {
		return nil
	}
	spans := p.file.FunctionSymbols(sites)
	var rest []uint64
	for i, pc := range sites {
		if spans[i].End == 0 {
			rest = append(rest, pc)
			continue
		}
		groups = addSite(groups, spans[i], pc)
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
		if s, ok := p.Outline(pc, starts[i]); ok {
			groups = addSite(groups, s, pc)
		}
	}
	return groups
}

// addSite adds a site to the last group, or to a new one if the function differs.
func addSite(groups []Group, s elffile.Span, pc uint64) []Group {
	if n := len(groups); n > 0 && groups[n-1].Span == s {
		groups[n-1].Sites = append(groups[n-1].Sites, pc)
		return groups
	}
	return append(groups, Group{s, true, []uint64{pc}})
}
