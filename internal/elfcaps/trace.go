package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/codescan"
	"github.com/capvet/capvet/internal/elffile"
)

// goThreadCalls are functions of Go's standard library that make a system call on
// every thread. They take its number and arguments in registers, and pass them on
// through memory that the interpreter does not follow.
var goThreadCalls = [...]string{"syscall.AllThreadsSyscall", "syscall.AllThreadsSyscall6"}

// goPerThread is the function that makes that call on one thread.
const goPerThread = "runtime.runPerThreadSyscall"

// trace finds the capability calls of the file: it interprets the functions with
// kernel entries and calls of imports, then their callers while the arguments come
// from there.
func (a *analysis) trace() {
	if !a.File.CodeComplete {
		a.overflow = "more code than the limit"
	}
	// PLT entries come first, so that the pass over the rest finds their calls.
	plt, rest := a.p.PLTRanges()
	if len(plt) > 0 {
		q := a.p.NewQuery()
		q.Entries, q.Imports = true, true
		hits := a.p.Scan(q, plt)
		a.addPLT(hits)
		a.note(hits)
	}
	for _, target := range a.Functions.GoFunctions(goThreadCalls[:]...) {
		k := a.NewSink("syscall", a.Register(a.Machine.GoArgs[0]), a.Machine.GoArgs[1], a.Machine.GoArgs[2])
		k.Target = target
		a.SinksAt[target] = append(a.SinksAt[target], k)
	}
	q := a.p.NewQuery()
	q.Entries, q.Imports = true, a.usesSlots(len(plt) > 0)
	if !a.Functions.Indexed() {
		q.CallTargets = codescan.NewCallTargets(a.Machine, a.File.Code)
	}
	early := a.newTargets()
	if len(early) == 0 {
		q.Branches = codescan.NewBranchIndex(a.File.Code) // a static program: rounds of callers follow
	}
	for _, t := range early {
		q.Want(t)
		for _, k := range a.SinksAt[t] {
			k.CallersSought = true
		}
	}
	hits := a.p.Scan(q, rest)
	a.noteUses(hits)
	a.note(hits)
	a.addPLT(hits)
	sites := hits.Entries
	for _, h := range hits.Calls {
		sites = append(sites, h.PC)
	}
	var forced []uint64
	for _, h := range hits.Slots {
		if a.Imports[a.File.GOT.Imports[h.Target]] != nil && a.together(h) {
			forced = append(forced, h.PC)
		}
	}
	a.possible = len(sites)+len(a.SinksAt) > 0 || a.File.Imported("syscall", "capget", "capset", "dlsym")
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
	a.viaPointers()
	a.aroundVersions()
	for level := 0; len(a.retry)+len(a.newTargets()) > 0; level++ {
		if level >= a.limits.Rounds {
			a.overflow = "too many levels of callees"
			break
		}
		a.again()
		if targets := a.newTargets(); len(targets) > 0 {
			a.round(targets)
			a.viaPointers()
		}
	}
}

// together reports whether an address is computed in the function that uses it.
func (a *analysis) together(h codescan.Hit) bool {
	if h.From == 0 || h.PC-h.From < nearby {
		return true
	}
	where := a.Functions.At(h.PC)
	return where.End == 0 || where.Holds(h.From)
}

// nearby is a distance in bytes within one function.
const nearby = 16

// viaPointers interprets the functions that load a pointer to a sink from data or,
// for a sink without known callers, compute its address. Each sink is treated once.
func (a *analysis) viaPointers() {
	uncalled := a.uncalledSinks()
	if a.File.FixedAddress() { // code may compute the address of a PLT entry
		for t, name := range a.PLT {
			uncalled[t] = uncalled[t] || a.Imports[name] != nil
		}
	}
	wanted := map[uint64]bool{}
	for t := range a.SinksAt {
		if _, done := a.addressTaken[t]; done {
			delete(uncalled, t)
			continue
		}
		a.addressTaken[t] = false
		if _, plt := a.PLT[t]; !plt || a.File.FixedAddress() {
			wanted[t] = true
		}
	}
	slots := a.File.PointersTo(wanted)
	if len(slots)+len(uncalled) == 0 {
		return
	}
	q := a.p.NewQuery()
	q.Slots, q.AddressTaken = slots, uncalled
	hits := a.p.Scan(q, a.File.Code)
	var sites []uint64
	for _, h := range hits.Slots {
		if a.together(h) {
			sites = append(sites, h.PC)
		}
	}
	for _, h := range hits.AddressTaken {
		a.addressTaken[h.Target], a.used[a.PLT[h.Target]] = true, true
		sites = append(sites, h.PC)
	}
	for _, t := range slots {
		a.addressTaken[t] = true
	}
	a.visit(sites, true)
}

// aroundVersions interprets the functions that build a header version without a known call.
func (a *analysis) aroundVersions() {
	if !a.possible {
		return
	}
	sites := slices.DeleteFunc(slices.Clone(a.headerConstants), func(pc uint64) bool {
		s := a.Functions.At(pc)
		return s.End != 0 && a.entered[s.Start]
	})
	if len(sites) > maxConstSites {
		a.overflow = "too many places that build a header version"
	}
	a.visit(sites[:min(len(sites), maxConstSites)], true)
}

// uncalledSinks returns the sinks without a known caller.
func (a *analysis) uncalledSinks() map[uint64]bool {
	// A PLT entry has several possible starts, of which one is used.
	used := map[string]bool{}
	for t, name := range a.PLT {
		used[name] = used[name] || slices.ContainsFunc(a.SinksAt[t], func(k *absint.Sink) bool { return k.Called })
	}
	out := map[uint64]bool{}
	for t, sinks := range a.SinksAt {
		if !used[a.PLT[t]] && slices.ContainsFunc(sinks, func(k *absint.Sink) bool { return !k.Called }) {
			out[t] = true
		}
	}
	return out
}

// maxConstSites is the number of functions interpreted for a header version alone.
const maxConstSites = 64

// note records header constants.
func (a *analysis) note(hits codescan.Findings) {
	a.headerConstants = append(a.headerConstants, hits.HeaderConstants...)
}

// newTargets returns the sorted addresses of sinks whose callers have not been searched for.
func (a *analysis) newTargets() (targets []uint64) {
	for t, sinks := range a.SinksAt {
		if slices.ContainsFunc(sinks, func(k *absint.Sink) bool { return !k.CallersSought }) {
			targets = append(targets, t)
		}
	}
	slices.Sort(targets)
	return targets
}

// round finds the callers of the targets and interprets them.
func (a *analysis) round(targets []uint64) {
	q := a.p.NewQuery()
	var fragments []elffile.Span
	for _, t := range targets {
		q.Want(t)
		for _, k := range a.SinksAt[t] {
			if !k.CallersSought && k.Site.Span.End != 0 {
				fragments = append(fragments, k.Site.Span)
			}
			k.CallersSought = true
		}
	}
	q.Fragments(fragments)
	for _, entry := range a.p.PLTEntriesOf(targets) {
		q.Want(entry)
	}
	hits := a.p.Branches(q)
	a.noteUses(hits)
	var sites []uint64
	for _, h := range hits.Calls {
		sites = append(sites, h.PC)
	}
	a.visit(sites, false)
	// A jump into the middle of a function is another entry of it.
	for _, h := range hits.Jumps {
		for _, t := range targets {
			for _, k := range a.SinksAt[t] {
				if !a.File.Spend(1) {
					return
				}
				if h.Target > k.Site.Span.Start && k.Site.Span.Holds(h.Target) {
					a.enter(k.Site.Span, h.Target, []uint64{k.Site.PC})
				}
			}
		}
	}
}

// visit interprets the functions that hold the sites; forced skips the prefilter.
func (a *analysis) visit(sites []uint64, forced bool) {
	for _, g := range a.p.GroupSites(sites) {
		switch {
		case a.Exhausted():
			return
		case forced:
			a.enter(g.Span, g.Span.Start, nil)
		case a.p.Prefilter(g, a.mayCall):
			a.enter(g.Span, g.Span.Start, g.Sites)
		}
	}
}
