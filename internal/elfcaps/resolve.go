package elfcaps

import (
	"fmt"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/report"
)

// enter interprets a function and takes up what its calls pass.
func (a *analysis) enter(s elffile.Span, entry uint64, sites []uint64) {
	if a.exhausted() {
		return
	}
	a.entered[s.Start] = true
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
	g.sink.reached = true
	numbers := a.names.alternatives(g.number)
	if !a.isCapabilityCall(g.number) {
		switch {
		case g.number.kind == kindConst:
		case a.fromEntry(g.number):
			a.addSink(g)
		case !slices.ContainsFunc(numbers, func(v value) bool { return v.kind != kindConst }):
		case !a.effects:
			if a.fns.GoName(g.pc) != goPerThread {
				a.retry = append(a.retry, g)
			}
		default:
			a.opaques = append(a.opaques, opaque{g, "the system call's number was not read"})
		}
		return
	}
	probe := g.data.isZero()
	abi := report.ABINone
	passed := false
	for _, v := range a.names.alternatives(g.version) {
		switch {
		case knownHeader(cut(v, 4)):
			this := report.ABIOfHeader(uint32(v.off))
			if probe && this == report.ABIV3 {
				this = report.ABINegotiated
			}
			abi = report.WorseABI(abi, this)
		case v.kind == kindKernel, v.kind == kindConst, v.kind == kindSmall:
			abi = report.WorseABI(abi, report.ABINegotiated)
		case a.fromEntry(v):
			passed = true
			abi = report.WorseABI(abi, report.ABIUnknown)
		default:
			abi = report.WorseABI(abi, report.ABIUnknown)
		}
	}
	if abi == report.ABIUnknown && !a.effects && !probe && !a.fromEntry(g.version) {
		// Look again, following what callees write.
		a.retry = append(a.retry, g)
		return
	}
	if passed && (abi == report.ABIUnknown) {
		a.addSink(g)
		return
	}
	a.resolveTo(g, abi)
}

// resolveTo takes up a capability call's verdict.
func (a *analysis) resolveTo(g sighting, abi report.ABI) {
	out := finding{sighting: g, abi: abi}
	for _, v := range a.names.alternatives(g.number) {
		if v.kind == kindConst && a.m.IsCapability(uint64(uint32(v.off))) {
			out.syscall = a.m.SyscallName(uint64(uint32(v.off)))
		}
	}
	a.found = append(a.found, out)
}

// again interprets functions whose header was not read once more, following
// what their callees write and return.
func (a *analysis) again() {
	pending := a.retry
	a.retry = nil
	if slices.ContainsFunc(a.found, func(x finding) bool { return x.abi == report.ABIV1 }) {
		// Nothing is worse: calls whose number is not known can add nothing.
		pending = slices.DeleteFunc(pending, func(g sighting) bool { return !a.isCapabilityCall(g.number) })
	}
	a.effects = true
	for len(pending) > 0 {
		// All sightings of one function at once.
		first := pending[0]
		var same, rest []sighting
		var watched []uint64
		for _, g := range pending {
			if g.entry == first.entry && g.span == first.span {
				same = append(same, g)
				watched = append(watched, g.pc)
			} else {
				rest = append(rest, g)
			}
		}
		pending = rest
		slices.Sort(watched)
		seen, ok := a.interpret(first.span, first.entry, slices.Compact(watched))
		for _, g := range same {
			if !ok {
				a.resolve(g)
				continue
			}
			for _, n := range seen {
				// A pointer that was not read may be known now.
				if n.pc == g.pc && (n.sink == g.sink || g.sink.target == 0 && n.sink.via == g.sink.via) {
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
		via: g.sink.via, at: g,
	}
	for _, o := range a.sinksAt[k.target] {
		if o.number == k.number && o.header == k.header && o.version == k.version && o.data == k.data {
			return
		}
	}
	if k.via == "inline" {
		if n := a.wrapperName(k); n != "" {
			k.via = n
		}
	}
	if a.sinks++; a.sinks > a.limits.Sinks {
		a.overflow = "too many functions whose callers decide"
		return
	}
	a.sinksAt[k.target] = append(a.sinksAt[k.target], k)
}

// wrapperName names a kernel entry that is a function of the C library.
func (a *analysis) wrapperName(k *sink) string {
	if a.f.Facts().Go || a.f.Facts().Linkage != report.LinkageStatic {
		return ""
	}
	c := a.m.CallArgs
	switch {
	case k.number == a.register(c[0]) && k.header == a.register(c[1]):
		return "syscall"
	case k.number.kind == kindConst && k.header == a.register(c[0]) && k.data == a.register(c[1]):
		return a.m.SyscallName(uint64(k.number.off))
	}
	return ""
}

// describe says where a header is; names are of addresses in data.
func (a *analysis) describe(h value, names map[uint64]elffile.Symbol) string {
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
		case symbolThread:
			return "thread-local data"
		case symbolLoad:
			return "memory behind a pointer"
		}
		return "caller's memory"
	case kindSet:
		return "one of several places"
	}
	return "address not read"
}
