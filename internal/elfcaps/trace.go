package elfcaps

import (
	"fmt"
	"slices"

	"github.com/capvet/capvet/internal/report"
)

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
		q.first = true
		hits := a.f.scan(a.m, q, stubs)
		a.addStubs(hits)
		a.note(hits)
	}
	q := newQuery(a.limits.Sites)
	q.first = true
	if a.unwind.count == 0 && a.goTable == nil {
		q.marks = newCallMarks(a.m, a.f.code)
	}
	early := a.sinkTargets()
	for _, t := range early {
		q.want(t)
	}
	hits := a.f.scan(a.m, q, rest)
	a.marks = q.marks
	a.note(hits)
	a.addStubs(hits)
	for _, t := range early {
		for _, k := range a.sinksAt[t] {
			k.caller = true
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
		a.possible = a.possible || a.imports[name] != nil
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
	for level := 0; level < a.limits.Rounds && len(a.retry)+len(a.newTargets()) > 0; level++ {
		a.again()
		if targets := a.newTargets(); len(targets) > 0 {
			a.round(targets)
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

// throughPointers looks at the code that loads a pointer to a sink from data,
// and at the code that builds a header version without a sink in reach.
func (a *analysis) throughPointers() {
	wanted := map[uint64]bool{}
	for t := range a.sinksAt {
		if _, stub := a.stubs[t]; !stub || a.f.c.kind == typeExec {
			wanted[t] = true
		}
	}
	if len(wanted) > 0 {
		if slots := a.f.pointersTo(wanted); len(slots) > 0 {
			q := newQuery(a.limits.Sites)
			q.slots = slots
			var sites []uint64
			for _, h := range a.f.scan(a.m, q, a.f.code).slots {
				if a.together(h) {
					sites = append(sites, h.pc)
				}
			}
			a.visit(sites, true)
		}
	}
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

// maxConstSites is how many places that build a header version are looked at
// for their own sake.
const maxConstSites = 64

func (a *analysis) note(hits findings) {
	a.consts = append(a.consts, hits.consts...)
	if hits.overflow {
		a.overflow = "too many places that may enter the kernel"
	}
}

// addStubs takes up linkage stubs. Each has a sink of its own, so that calls of
// it are looked for once.
func (a *analysis) addStubs(hits findings) {
	for _, h := range hits.stubs {
		name := a.f.dyn.imports[h.target]
		a.stubs[h.pc] = name
		if k := a.imports[name]; k != nil && len(a.sinksAt[h.pc]) == 0 {
			own := *k
			own.target = h.pc
			a.sinksAt[h.pc] = []*sink{&own}
		}
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
		if slices.ContainsFunc(sinks, func(k *sink) bool { return !k.caller }) {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return out
}

// round looks for the callers of the targets and interprets them.
func (a *analysis) round(targets []uint64) {
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
	hits := a.f.scan(a.m, q, a.f.code)
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
				if h.target > k.where.start && k.where.holds(h.target) {
					a.enter(k.where, h.target, []uint64{k.root})
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
		case forced:
			a.enter(g.span, g.span.start, nil)
		case a.relevant(g):
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
	starts := make([]uint64, len(rest))
	if a.marks != nil {
		for i, pc := range rest {
			starts[i] = a.marks.last(pc)
		}
	} else {
		q := newQuery(a.limits.Sites)
		q.points = rest
		starts = a.f.scan(a.m, q, a.f.code).starts
	}
	for i, pc := range rest {
		s, ok := a.outline(pc, starts[i])
		if !ok {
			continue // data, or nothing that is called
		}
		if n := len(groups); n > 0 && groups[n-1].span == s {
			groups[n-1].sites = append(groups[n-1].sites, pc)
			continue
		}
		groups = append(groups, group{s, true, []uint64{pc}})
	}
	return groups
}

// outline finds the bounds of the function that holds pc by decoding from from,
// a call target below it: a function ends at an instruction that does not go
// on and that no jump so far passes over.
func (a *analysis) outline(pc, from uint64) (span, bool) {
	// A call target begins a function, even with an instruction that fills.
	padding := false
	if from == 0 || pc-from > uint64(a.limits.FunctionBytes) {
		if a.m.align != 4 {
			return span{}, false
		}
		from, padding = pc-min(pc, outlineBack), true
		for _, r := range a.f.code {
			if r.holds(pc) {
				from = max(from, r.start)
			}
		}
	}
	code := a.code(span{from, a.rangeEnd(pc)})
	var in insn
	start, furthest := from, from
	called := false // the instruction before is a call
	for at := 0; at < len(code) && a.f.spend(1); {
		here := from + uint64(at)
		if here > pc && start > pc {
			return span{}, false
		}
		if !a.m.decode(code[at:], here, &in) {
			if here >= pc {
				return span{start, here}, start <= pc
			}
			at += a.m.align
			start, furthest, padding = from+uint64(at), from+uint64(at), true
			continue
		}
		at += in.length
		next := from + uint64(at)
		if padding {
			if in.n == 0 && in.flow == flowNext && !landingPad(code[at-in.length:at]) {
				start = next // nothing but filling between functions
				continue
			}
			padding = false
		} else if called && here >= furthest && in.n == 0 && in.flow == flowNext && !landingPad(code[at-in.length:at]) {
			// Filling after a call that does not return.
			if here > pc {
				return span{start, here}, true
			}
			start, furthest, padding = next, next, true
			continue
		}
		called = in.flow == flowCall
		switch in.flow {
		case flowBranch, flowJump:
			if in.target > furthest && in.target >= start && in.target-start < uint64(a.limits.FunctionBytes) {
				if in.flow == flowBranch || in.target < next+jumpNear {
					furthest = in.target
				}
			}
		}
		switch in.flow {
		case flowJump, flowReturn, flowStop:
			if next > furthest {
				if next > pc {
					return span{start, next}, true
				}
				start, furthest, padding = next, next, true
			}
		}
	}
	return span{start, from + uint64(len(code))}, start <= pc
}

const (
	outlineBack = 4096 // bytes before a place to begin where no call target is near
	jumpNear    = 256  // bytes that a jump forward within a function spans at most
)

// landingPad recognises endbr64 and the arm64 hints that begin a function.
func landingPad(code []byte) bool {
	if len(code) != 4 {
		return false
	}
	switch le.Uint32(code) {
	case 0xfa1e0ff3, 0xd503245f, 0xd503233f, 0xd503237f:
		return true
	}
	return false
}

// rangeEnd is where code that may belong to the function at pc ends.
func (a *analysis) rangeEnd(pc uint64) uint64 {
	for _, r := range a.f.code {
		if r.holds(pc) {
			return min(pc+outlineOn, r.end)
		}
	}
	return pc + uint64(a.m.longest)
}

const outlineOn = 64 << 10

// relevant decodes a function without interpreting it and says whether some
// site may be a capability call: one that has its number set to another
// constant in the same stretch of code, with no jump to between, is not.
func (a *analysis) relevant(g group) bool {
	code := a.code(g.span)
	var in insn
	leaders := map[uint64]bool{}
	a.sweep(g.span, code, &in, func(uint64) bool {
		if (in.flow == flowJump || in.flow == flowBranch) && g.span.holds(in.target) {
			leaders[in.target] = true
		}
		return true
	})
	last := map[reg]value{}
	open := false
	a.sweep(g.span, code, &in, func(pc uint64) bool {
		if leaders[pc] {
			clear(last)
		}
		if _, ok := slices.BinarySearch(g.sites, pc); ok {
			direct := in.flow == flowSyscall || in.flow == flowCall || in.flow == flowJump || in.flow == flowBranch
			open = open || !direct
			for _, k := range a.sinksHere(&in) {
				r, ok := a.numberRegister(k)
				v, known := last[r]
				open = open || !ok || !known || a.m.isCapability(uint64(v.off))
			}
		}
		for i := range in.ops[:in.n] {
			switch o := &in.ops[i]; o.code {
			case opStore, opStoreImm, opFill, opCopy:
			case opConst:
				last[o.dst] = cut(constant(uint64(o.imm)), o.width)
			default:
				delete(last, o.dst)
			}
		}
		if in.flow != flowNext {
			clear(last)
		}
		return !open
	})
	return open || a.f.work < 0
}

// sweep decodes a span from start to end.
func (a *analysis) sweep(s span, code []byte, in *insn, visit func(pc uint64) bool) {
	for at := 0; at < len(code) && a.f.spend(1); {
		if !a.m.decode(code[at:], s.start+uint64(at), in) {
			at += a.m.align
			continue
		}
		if !visit(s.start + uint64(at)) {
			return
		}
		at += in.length
	}
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
	a.entered[s.start] = true
	r, ok := a.follow(s, entry, sites, sites == nil)
	if !ok {
		for _, pc := range sites {
			a.opaques = append(a.opaques, opaque{sighting{pc: pc, span: s}, "the function of a call is too long to follow"})
		}
		return
	}
	for _, pc := range sites {
		if !r.visited[pc] && r.instruction(pc) {
			a.opaques = append(a.opaques, opaque{sighting{pc: pc, span: s}, "a call is reached in no way that was followed"})
		}
	}
	for _, g := range r.seen {
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
		case !a.effects:
			a.retry = append(a.retry, g)
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
	if abi == report.ABIUnknown && !a.effects && !out.probe && !a.allPassed(g.version) {
		// Look again, following what callees write.
		a.retry = append(a.retry, g)
		return
	}
	if passed && (abi == report.ABIUnknown) {
		a.addSink(g)
		return
	}
	if abi == report.ABIUnknown && out.probe {
		abi = report.ABINegotiated
	}
	out.abi, out.place, out.version = abi, g.header, g.version
	a.found = append(a.found, out)
}

// allPassed says that only callers decide the version.
func (a *analysis) allPassed(v value) bool {
	return a.fromEntry(v)
}

// again interprets functions whose header was not read once more, following
// what their callees write and return.
func (a *analysis) again() {
	todo := a.retry
	a.retry = nil
	a.effects = true
	for len(todo) > 0 {
		// All sightings of one function at once.
		first := todo[0]
		var same, rest []sighting
		var watched []uint64
		for _, g := range todo {
			if g.entry == first.entry && g.span == first.span {
				same = append(same, g)
				watched = append(watched, g.pc)
			} else {
				rest = append(rest, g)
			}
		}
		todo = rest
		slices.Sort(watched)
		seen, ok := a.interpret(first.span, first.entry, slices.Compact(watched))
		for _, g := range same {
			if !ok {
				a.resolve(g)
				continue
			}
			for _, n := range seen {
				if n.pc == g.pc && n.sink == g.sink {
					a.resolve(n)
				}
			}
		}
	}
	a.effects = false
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
	if a.sinks++; a.sinks > a.limits.Wrappers {
		a.overflow = "too many functions whose callers decide"
		return
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

// describe says where a header is; names are of addresses in data.
func (a *analysis) describe(h value, names map[uint64]Symbol) string {
	switch h.kind {
	case kindStack:
		return "stack"
	case kindConst:
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
			for ; i < len(addrs) && addrs[i]-s.addr < s.size && f.spend(1); i++ {
				out[i] = span{s.addr, s.addr + s.size}
			}
			return true
		})
	}
	return out
}
