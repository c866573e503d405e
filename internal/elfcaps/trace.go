package elfcaps

import "slices"

// trace finds every capability call of the file.
func (a *analysis) trace() {
	if !a.f.complete {
		a.overflow = "more code than the limit"
	}
	// Linkage stubs come first, so that the pass over the rest can look for
	// calls of them as well.
	stubs, rest := a.f.stubRanges()
	if len(stubs) > 0 {
		q := newQuery(a.limits.Sites)
		q.first, q.imports = true, true
		hits := a.f.scan(a.m, q, stubs)
		a.addStubs(hits)
		a.note(hits)
	}
	for _, target := range a.goTable.threadCalls() {
		k := a.primitive("syscall", a.register(a.m.goArgs[0]), [3]reg{a.m.goArgs[1], a.m.goArgs[2]})
		k.target = target
		a.sinksAt[target] = append(a.sinksAt[target], k)
	}
	q := newQuery(a.limits.Sites)
	q.first, q.imports = true, a.usesSlots(len(stubs) > 0)
	if a.unwind.count == 0 && a.goTable == nil {
		q.marks = newCallMarks(a.m, a.f.code)
	}
	early := a.sinkTargets()
	if len(early) == 0 {
		q.list = newTransfers(a.f.code) // a static program: its callers are looked for in rounds
	}
	for _, t := range early {
		q.want(t)
	}
	hits := a.f.scan(a.m, q, rest)
	a.marks, a.list = q.marks, q.list
	a.noteUses(hits)
	a.note(hits)
	a.addStubs(hits)
	for _, t := range early {
		for _, k := range a.sinksAt[t] {
			k.looked = true
		}
	}
	sites := hits.kernel
	for _, h := range hits.calls {
		sites = append(sites, h.pc)
	}
	var forced []uint64
	for _, h := range hits.slots {
		if a.imports[a.f.dyn.imports[h.target]] != nil && a.together(h) {
			forced = append(forced, h.pc)
		}
	}
	a.possible = len(sites)+len(a.sinksAt) > 0
	for _, name := range a.f.dyn.imports {
		a.possible = a.possible || a.imports[name] != nil || name == "dlsym"
	}
	a.visit(sites, false)
	a.visit(forced, true)
	for round := 0; ; round++ {
		targets := a.newTargets()
		if len(targets) == 0 {
			break
		}
		if round >= a.limits.Rounds {
			a.overflow = "too many levels of callers"
			break
		}
		a.round(targets)
	}
	a.throughPointers()
	a.aroundVersions()
	for level := 0; level < a.limits.Rounds && len(a.retry)+len(a.newTargets()) > 0; level++ {
		a.again()
		if targets := a.newTargets(); len(targets) > 0 {
			a.round(targets)
			a.throughPointers()
		}
	}
}

// together says that an address is computed in the function that uses it.
func (a *analysis) together(h hit) bool {
	if h.from == 0 || h.pc-h.from < nearby {
		return true
	}
	where, _ := a.functionOf(h.pc)
	return where.end == 0 || where.holds(h.from)
}

// nearby is a distance in bytes that needs no further look.
const nearby = 16

// throughPointers looks at the code that loads a pointer to a sink from data or,
// where a sink has no callers, computes its address. Each sink is looked at once.
func (a *analysis) throughPointers() {
	orphans := a.orphans()
	if a.f.c.kind == typeExec { // an address that does not move may be used beside direct calls
		for t, name := range a.stubs {
			orphans[t] = orphans[t] || a.imports[name] != nil
		}
	}
	wanted := map[uint64]bool{}
	for t := range a.sinksAt {
		if _, done := a.taken[t]; done {
			delete(orphans, t)
			continue
		}
		a.taken[t] = false
		if _, stub := a.stubs[t]; !stub || a.f.c.kind == typeExec {
			wanted[t] = true
		}
	}
	if slots := a.f.pointersTo(wanted); len(slots)+len(orphans) > 0 {
		q := newQuery(a.limits.Sites)
		q.slots, q.takings = slots, orphans
		hits := a.f.scan(a.m, q, a.f.code)
		var sites []uint64
		for _, h := range hits.slots {
			if a.together(h) {
				sites = append(sites, h.pc)
			}
		}
		for _, h := range hits.takings {
			a.taken[h.target], a.used[a.stubs[h.target]] = true, true
			sites = append(sites, h.pc)
		}
		for _, t := range slots {
			a.taken[t] = true
		}
		a.visit(sites, true)
	}
}

// aroundVersions looks at the code that builds a header version without a sink
// in reach.
func (a *analysis) aroundVersions() {
	if a.possible {
		var sites []uint64
		for _, pc := range a.consts[:min(len(a.consts), maxConstSites)] {
			if where, _ := a.functionOf(pc); where.end == 0 || !a.entered[where.start] {
				sites = append(sites, pc)
			}
		}
		a.visit(sites, true)
	}
}

// orphans are the sinks that no caller was seen of: their address may be taken.
func (a *analysis) orphans() map[uint64]bool {
	// A stub has several ways in, of which one is used.
	used := map[string]bool{}
	for t, name := range a.stubs {
		used[name] = used[name] || slices.ContainsFunc(a.sinksAt[t], func(k *sink) bool { return k.reached })
	}
	out := map[uint64]bool{}
	for t, sinks := range a.sinksAt {
		if !used[a.stubs[t]] && slices.ContainsFunc(sinks, func(k *sink) bool { return !k.reached }) {
			out[t] = true
		}
	}
	return out
}

// maxConstSites is how many places that build a header version are looked at
// for their own sake.
const maxConstSites = 64

func (a *analysis) note(hits findings) {
	a.consts = append(a.consts, hits.consts...)
	if hits.overflow {
		a.overflow = "too many places that may enter the kernel"
	}
}

// sinkTargets are the addresses of all sinks so far.
func (a *analysis) sinkTargets() []uint64 {
	var out []uint64
	for t := range a.sinksAt {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}

// newTargets are those whose callers have not been looked for.
func (a *analysis) newTargets() []uint64 {
	var out []uint64
	for t, sinks := range a.sinksAt {
		if slices.ContainsFunc(sinks, func(k *sink) bool { return !k.looked }) {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}

// transfers looks for calls and jumps.
func (a *analysis) transfers(q *query) findings {
	if !a.list.whole() {
		return a.f.scan(a.m, q, a.f.code)
	}
	out := a.list.replay(q)
	a.f.finish(a.m, q, &out)
	return out
}

// round looks for the callers of the targets and interprets them.
func (a *analysis) round(targets []uint64) {
	q := newQuery(a.limits.Sites)
	for _, t := range targets {
		q.want(t)
		for _, k := range a.sinksAt[t] {
			if !k.looked && k.at.span.end != 0 {
				q.fragments = append(q.fragments, k.at.span)
			}
			k.looked = true
		}
	}
	for _, stub := range a.stubsOf(targets) {
		q.want(stub)
	}
	hits := a.transfers(q)
	a.noteUses(hits)
	if hits.overflow {
		a.overflow = "too many calls that may enter the kernel"
	}
	var sites []uint64
	for _, h := range hits.calls {
		sites = append(sites, h.pc)
	}
	a.visit(sites, false)
	// A jump into the middle of a fragment is another entry of it.
	for _, h := range hits.jumps {
		for _, t := range targets {
			for _, k := range a.sinksAt[t] {
				if !a.f.spend(1) {
					return
				}
				if h.target > k.at.span.start && k.at.span.holds(h.target) {
					a.enter(k.at.span, h.target, []uint64{k.at.pc})
				}
			}
		}
	}
}

// group is a function and the sites in it.
type group struct {
	span  span
	exact bool
	sites []uint64
}

// visit interprets the functions that hold the sites; forced, without asking
// whether the sites themselves need it.
func (a *analysis) visit(sites []uint64, forced bool) {
	slices.Sort(sites)
	sites = slices.Compact(sites)
	var groups []group
	var lost []uint64
	for _, pc := range sites {
		if n := len(groups); n > 0 && groups[n-1].span.holds(pc) && groups[n-1].exact {
			groups[n-1].sites = append(groups[n-1].sites, pc)
			continue
		}
		s, exact := a.functionOf(pc)
		if s.end == 0 {
			lost = append(lost, pc)
			continue
		}
		groups = append(groups, group{s, exact, []uint64{pc}})
	}
	groups = append(groups, a.locate(lost)...)
	for _, g := range groups {
		switch {
		case a.exhausted():
			return
		case forced:
			a.enter(g.span, g.span.start, nil)
		case a.relevant(g):
			a.enter(g.span, g.span.start, g.sites)
		}
	}
}
