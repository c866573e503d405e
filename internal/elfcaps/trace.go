package elfcaps

import (
	"fmt"
	"slices"

	"github.com/capvet/capvet/internal/report"
)

// trace finds every capability call of the file.
func (a *analysis) trace() {
	q := newQuery(a.limits.Sites)
	q.first = true
	hits := a.f.scan(a.m, q)
	a.consts = hits.consts
	if hits.overflow {
		a.overflow = "too many places that enter the kernel"
	}
	if !a.f.complete {
		a.overflow = "more code than the limit"
	}
	for _, h := range hits.stubs {
		name := a.f.dyn.imports[h.target]
		a.stubs[h.pc] = name
		if k := a.imports[name]; k != nil && !slices.Contains(a.sinksAt[h.pc], k) {
			a.sinksAt[h.pc] = append(a.sinksAt[h.pc], k)
		}
	}
	a.staticNames()
	var sites []uint64
	sites = append(sites, hits.kernel...)
	for _, h := range hits.slots {
		if a.imports[a.f.dyn.imports[h.target]] != nil {
			sites = append(sites, h.pc)
		}
	}
	fresh := a.sinkTargets()
	a.visit(sites, nil)
	for round := 0; ; round++ {
		// The first round looks for callers of stubs as well as of what the
		// kernel entries made.
		targets := append(fresh, a.newTargets(fresh)...)
		if len(targets) == 0 {
			break
		}
		if round >= a.limits.Rounds {
			a.overflow = "too many levels of callers"
			break
		}
		fresh = a.round(targets)
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

func (a *analysis) newTargets(known []uint64) []uint64 {
	var out []uint64
	for t, sinks := range a.sinksAt {
		if slices.Contains(known, t) {
			continue
		}
		for _, k := range sinks {
			if !k.caller {
				out = append(out, t)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

// round looks for the callers of the targets and interprets them.
func (a *analysis) round(targets []uint64) []uint64 {
	q := newQuery(a.limits.Sites)
	for _, t := range targets {
		q.want(t)
		for _, k := range a.sinksAt[t] {
			if !k.caller && k.where.end != 0 {
				q.fragments = append(q.fragments, k.where)
			}
			k.caller = true // looked for
		}
	}
	hits := a.f.scan(a.m, q)
	if hits.overflow {
		a.overflow = "too many calls"
	}
	_ = hits.taken
	var sites []uint64
	for _, h := range hits.calls {
		sites = append(sites, h.pc)
	}
	a.visit(sites, targets)
	// A jump into the middle of a fragment is another entry of it.
	for _, h := range hits.jumps {
		for _, t := range targets {
			for _, k := range a.sinksAt[t] {
				if h.target > k.where.start && k.where.holds(h.target) {
					a.enter(k.where, h.target, []uint64{k.root})
				}
			}
		}
	}
	return nil
}

// group is a function and the sites in it.
type group struct {
	span  span
	exact bool
	sites []uint64
}

// visit interprets the functions that hold the sites.
func (a *analysis) visit(sites, targets []uint64) {
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
		if a.relevant(g) {
			a.enter(g.span, g.span.start, g.sites)
		}
	}
}

// locate finds the functions of places that no table covers: by symbols, then
// by the nearest call target below.
func (a *analysis) locate(lost []uint64) []group {
	if len(lost) == 0 {
		return nil
	}
	var groups []group
	covered := a.f.covering(lost)
	var rest []uint64
	for i, pc := range lost {
		if s := covered[i]; s.end != 0 {
			if n := len(groups); n > 0 && groups[n-1].span == s {
				groups[n-1].sites = append(groups[n-1].sites, pc)
			} else {
				groups = append(groups, group{s, true, []uint64{pc}})
			}
			continue
		}
		rest = append(rest, pc)
	}
	if len(rest) == 0 {
		return groups
	}
	q := newQuery(a.limits.Sites)
	q.points = rest
	hits := a.f.scan(a.m, q)
	for i, pc := range rest {
		start := hits.starts[i]
		if a.m.align == 4 {
			start = max(start, a.afterReturn(pc))
		}
		if start == 0 || pc-start > guessBack {
			continue // data, or nothing that is called
		}
		a.starts[pc] = start
		s := span{start, a.guessEnd(pc)}
		if n := len(groups); n > 0 && groups[n-1].span.start == start {
			groups[n-1].span.end = s.end
			groups[n-1].sites = append(groups[n-1].sites, pc)
			continue
		}
		groups = append(groups, group{s, false, []uint64{pc}})
	}
	return groups
}

// afterReturn walks back from pc to where the function before ends.
func (a *analysis) afterReturn(pc uint64) uint64 {
	for at := pc - 4; at < pc && pc-at < guessBack; at -= 4 {
		w, ok := a.f.mem.word(at, 4)
		if !ok {
			return 0
		}
		if w == 0xd65f03c0 || w == 0 {
			return at + 4
		}
	}
	return 0
}

// relevant decodes a function once, without interpreting it, and says whether
// some site may be a capability call: a site needs no further look when its
// number is set to another constant just before it, and nothing in the
// function holds a capability number.
func (a *analysis) relevant(g group) bool {
	code := a.code(g.span)
	var in insn
	var last map[reg]value
	last = map[reg]value{}
	open := false
	for at := 0; at < len(code); {
		pc := g.span.start + uint64(at)
		if !a.m.decode(code[at:], pc, &in) {
			at += a.m.align
			clear(last)
			continue
		}
		if _, ok := slices.BinarySearch(g.sites, pc); ok {
			for _, k := range a.sinksHere(&in) {
				r, ok := a.numberRegister(k)
				v, known := last[r]
				if !ok || !known || v.kind != kindConst {
					open = true
				}
			}
			if in.flow != flowSyscall && in.flow != flowCall && in.flow != flowJump && in.flow != flowBranch {
				open = true
			}
		}
		for _, o := range in.ops[:in.n] {
			switch o.code {
			case opStore, opStoreImm, opFill, opCopy:
			case opConst:
				if a.m.isCapability(uint64(o.imm)) {
					return true
				}
				last[o.dst] = constant(uint64(o.imm))
			default:
				delete(last, o.dst)
			}
		}
		if in.flow != flowNext {
			clear(last)
		}
		at += in.length
	}
	return open
}

// sinksHere are the sinks that an instruction reaches directly.
func (a *analysis) sinksHere(in *insn) []*sink {
	if in.flow == flowSyscall {
		return []*sink{a.inline}
	}
	return a.sinksAt[in.target]
}

// numberRegister returns the register that a sink takes its number from.
func (a *analysis) numberRegister(k *sink) (reg, bool) {
	if k.number.kind == kindSymbol && k.number.off == 0 {
		if o := a.names.origins[k.number.id]; o.kind == symbolRegister {
			return o.reg, true
		}
	}
	return regNone, false
}

// enter interprets a function and takes up what its calls pass.
func (a *analysis) enter(s span, entry uint64, sites []uint64) {
	seen, ok := a.interpret(s, entry, sites)
	if !ok {
		for _, pc := range sites {
			a.opaques = append(a.opaques, opaque{sighting{pc: pc, span: s}, "the function is too long to follow"})
		}
		return
	}
	for _, g := range seen {
		key := handledKey{g.pc, entry, g.sink}
		if a.handled[key] {
			continue
		}
		a.handled[key] = true
		a.resolve(g)
	}
}

// resolve judges one sighting: a capability call, none, or something that the
// callers decide.
func (a *analysis) resolve(g sighting) {
	numbers := a.names.alternatives(g.number)
	if !a.isCapabilityCall(g.number) {
		switch {
		case g.number.kind == kindConst:
		case a.fromEntry(g.number):
			a.addSink(g)
		case !slices.ContainsFunc(numbers, func(v value) bool { return v.kind != kindConst }):
		default:
			a.opaques = append(a.opaques, opaque{g, "the system call's number was not read"})
		}
		return
	}
	out := finding{pc: g.pc, via: g.sink.via, writer: g.writer, root: g.sink.root, inner: g.span}
	if out.root == 0 {
		out.root = g.pc
	}
	for _, v := range numbers {
		if v.kind == kindConst && a.m.isCapability(uint64(uint32(v.off))) {
			out.syscall = a.m.syscallName(uint64(uint32(v.off)))
		}
	}
	out.probe = g.data.isConst(0)
	abi := report.ABINone
	passed := false
	for _, v := range a.names.alternatives(g.version) {
		switch {
		case knownHeader(cut(v, 4)):
			this := report.ABIOfHeader(uint32(v.off))
			if out.probe && this == report.ABIV3 {
				this = report.ABINegotiated
			}
			abi = report.WorseABI(abi, this)
		case v.kind == kindKernel, v.kind == kindConst:
			abi = report.WorseABI(abi, report.ABINegotiated)
		case a.fromEntry(v):
			passed = true
			abi = report.WorseABI(abi, report.ABIUnknown)
		default:
			abi = report.WorseABI(abi, report.ABIUnknown)
		}
	}
	if passed && (abi == report.ABIUnknown) {
		a.addSink(g)
		return
	}
	if abi == report.ABIUnknown && out.probe {
		abi = report.ABINegotiated
	}
	out.abi, out.header = abi, a.describe(g)
	a.found = append(a.found, out)
}

// addSink makes the function that holds g a sink for its callers.
func (a *analysis) addSink(g sighting) {
	k := &sink{
		target: g.entry, number: g.number, header: g.header, version: g.version, data: g.data,
		via: g.sink.via, root: g.sink.root, where: g.span, depth: g.sink.depth + 1,
	}
	if k.root == 0 {
		k.root = g.pc
	}
	for _, o := range a.sinksAt[k.target] {
		if o.number == k.number && o.header == k.header && o.version == k.version && o.data == k.data {
			return
		}
	}
	if k.via == "inline" {
		if n := a.wrapperName(k, g.entry); n != "" {
			k.via = n
		}
	}
	a.sinksAt[k.target] = append(a.sinksAt[k.target], k)
}

// wrapperName names a kernel entry that is a function of the C library.
func (a *analysis) wrapperName(k *sink, entry uint64) string {
	if a.f.isGo || a.f.facts.Linkage != report.LinkageStatic {
		return ""
	}
	c := a.m.callArgs
	switch {
	case k.number == a.register(c[0]) && k.header == a.register(c[1]):
		return "syscall"
	case k.number.kind == kindConst && k.header == a.register(c[0]) && k.data == a.register(c[1]):
		return a.m.syscallName(uint64(k.number.off))
	}
	_ = entry
	return ""
}

// describe says where the header is.
func (a *analysis) describe(g sighting) string {
	switch h := g.header; h.kind {
	case kindStack:
		return "stack"
	case kindConst:
		names := map[uint64]Symbol{uint64(h.off): {}}
		a.f.nameOf(names)
		if n := names[uint64(h.off)].Name; n != "" {
			return "data " + n
		}
		return fmt.Sprintf("data %#x", uint64(h.off))
	case kindSymbol:
		switch o := a.names.origins[h.id]; o.kind {
		case symbolResult:
			return "memory from a call"
		case symbolLoad:
			return "memory behind a pointer"
		}
		return "caller's memory"
	case kindSet:
		return "one of several places"
	}
	return "address not read"
}

// covering returns for each address, in order, the function symbol around it.
func (f *File) covering(addrs []uint64) []span {
	out := make([]span, len(addrs))
	for _, t := range f.tables() {
		t.each(f.c, func(_ int, s symbol) bool {
			if !s.defined || !s.function || s.size == 0 || s.addr+s.size < s.addr {
				return true
			}
			i, _ := slices.BinarySearch(addrs, s.addr)
			for ; i < len(addrs) && addrs[i]-s.addr < s.size; i++ {
				out[i] = span{s.addr, s.addr + s.size}
			}
			return true
		})
	}
	return out
}
