package elfcaps

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// enter interprets a function and resolves its calls of sinks.
func (a *analysis) enter(s elffile.Span, entry uint64, sites []uint64) {
	if a.Exhausted() {
		return
	}
	a.entered[s.Start] = true
	r, ok := a.Run(s, entry, sites, sites == nil)
	if !ok {
		if s.End-s.Start > uint64(a.File.Limits.FunctionBytes) {
			a.overflow = fmt.Sprintf("the function at %#x, which may enter the kernel, has %d bytes", s.Start, s.End-s.Start)
		}
		for _, pc := range sites {
			a.unresolved = append(a.unresolved, unresolvedCall{absint.CallSite{PC: pc, Span: s}, "the function of a call is too long to follow"})
		}
		return
	}
	for _, pc := range sites {
		if !r.Visited[pc] && a.instruction(s, pc) {
			a.unresolved = append(a.unresolved, unresolvedCall{absint.CallSite{PC: pc, Span: s}, "a call is reached in no way that was followed"})
		}
	}
	for _, g := range r.Seen {
		key := handledKey{g.PC, entry, g.Sink}
		if !a.handled[key] {
			a.handled[key] = true
			a.resolve(g)
		}
	}
}

// instruction reports whether decoding the function from its start finds an instruction at pc.
func (a *analysis) instruction(s elffile.Span, pc uint64) bool {
	var in isa.Insn
	found := false
	a.p.Sweep(s, a.File.FunctionCode(s), &in, func(at uint64) bool {
		found = at == pc
		return at < pc
	})
	return found
}

// resolve gives a call site a verdict, drops it, or makes its function a sink for its callers.
func (a *analysis) resolve(g absint.CallSite) {
	g.Sink.Called = true
	if !a.IsCapabilityCall(g.Number) {
		switch {
		case g.Number.Kind == absint.KindConst:
		case a.FromEntry(g.Number):
			a.addSink(g)
		case !slices.ContainsFunc(a.Values.Alternatives(g.Number), func(v absint.Value) bool { return v.Kind != absint.KindConst }):
		case !a.FollowCallees:
			if a.Functions.GoName(g.PC) != goPerThread {
				a.retry = append(a.retry, g)
			}
		default:
			a.unresolved = append(a.unresolved, unresolvedCall{g, "the system call's number was not read"})
		}
		return
	}
	probe := g.Data.IsZero()
	abi := report.ABINone
	passed := false
	for _, v := range a.Values.Alternatives(g.Version) {
		switch {
		case absint.KnownHeader(absint.Truncate(v, 4)):
			this := report.ABIOfHeader(uint32(v.Off))
			if probe && this == report.ABIV3 {
				this = report.ABINegotiated
			}
			abi = report.WorseABI(abi, this)
		case v.Kind == absint.KindKernel, v.Kind == absint.KindConst, v.Kind == absint.KindSmall:
			abi = report.WorseABI(abi, report.ABINegotiated)
		default:
			passed = passed || a.FromEntry(v)
			abi = report.WorseABI(abi, report.ABIUnknown)
		}
	}
	if abi == report.ABIUnknown && !a.FollowCallees && !probe && !a.FromEntry(g.Version) {
		// A callee may write the version.
		a.retry = append(a.retry, g)
		return
	}
	if passed && abi == report.ABIUnknown {
		a.addSink(g)
		return
	}
	a.resolveTo(g, abi)
}

// resolveTo adds a capability call with its verdict.
func (a *analysis) resolveTo(g absint.CallSite, abi report.ABI) {
	out := finding{CallSite: g, abi: abi}
	for _, v := range a.Values.Alternatives(g.Number) {
		if v.Kind == absint.KindConst && a.Machine.IsCapability(uint64(uint32(v.Off))) {
			out.syscall = a.Machine.SyscallName(uint64(uint32(v.Off)))
		}
	}
	a.found = append(a.found, out)
}

// again interprets functions with unknown arguments again, with summaries of their callees.
func (a *analysis) again() {
	pending := a.retry
	a.retry = nil
	if slices.ContainsFunc(a.found, func(x finding) bool { return x.abi == report.ABIV1 }) {
		// V1 is the worst verdict: calls with an unknown number cannot change it.
		pending = slices.DeleteFunc(pending, func(g absint.CallSite) bool { return !a.IsCapabilityCall(g.Number) })
	}
	a.FollowCallees = true
	for len(pending) > 0 {
		// All call sites of one function at once.
		first := pending[0]
		var same []absint.CallSite
		var watched []uint64
		pending = slices.DeleteFunc(pending, func(g absint.CallSite) bool {
			if g.Entry != first.Entry || g.Span != first.Span {
				return false
			}
			same, watched = append(same, g), append(watched, g.PC)
			return true
		})
		slices.Sort(watched)
		r, ok := a.Run(first.Span, first.Entry, slices.Compact(watched), false)
		for _, g := range same {
			if !ok {
				a.resolve(g)
				continue
			}
			for _, n := range r.Seen {
				// An unknown pointer may be known now.
				if n.PC == g.PC && (n.Sink == g.Sink || g.Sink.Target == 0 && n.Sink.Via == g.Sink.Via) {
					a.resolve(n)
				}
			}
		}
	}
	a.FollowCallees = false
}

// addSink makes the function with the call site g a sink for its callers.
func (a *analysis) addSink(g absint.CallSite) {
	k := &absint.Sink{Target: g.Entry, Arguments: g.Arguments, Via: g.Sink.Via, Site: g}
	if slices.ContainsFunc(a.SinksAt[k.Target], func(o *absint.Sink) bool { return o.Arguments == k.Arguments }) {
		return
	}
	if k.Via == "inline" {
		k.Via = cmp.Or(a.wrapperName(k), k.Via)
	}
	if a.sinks++; a.sinks > a.limits.Sinks {
		a.overflow = "too many functions whose callers decide"
		return
	}
	a.SinksAt[k.Target] = append(a.SinksAt[k.Target], k)
}

// wrapperName returns the C library's name of a statically linked sink, or "".
func (a *analysis) wrapperName(k *absint.Sink) string {
	if a.File.Facts().Go || a.File.Facts().Linkage != report.LinkageStatic {
		return ""
	}
	c := a.Machine.CallArgs
	switch {
	case k.Number == a.Register(c[0]) && k.Header == a.Register(c[1]):
		return "syscall"
	case k.Number.Kind == absint.KindConst && k.Header == a.Register(c[0]) && k.Data == a.Register(c[1]):
		return a.Machine.SyscallName(uint64(k.Number.Off))
	}
	return ""
}

// describe returns the place of a header. names are those of addresses in data.
func (a *analysis) describe(h absint.Value, names map[uint64]string) string {
	switch h.Kind {
	case absint.KindStack:
		return "stack"
	case absint.KindConst:
		if n := names[uint64(h.Off)]; n != "" {
			return "data " + short(n)
		}
		return fmt.Sprintf("data %#x", uint64(h.Off))
	case absint.KindSymbol:
		switch o := a.Values.Origin(h); o.Kind {
		case absint.SymbolResult:
			return "memory from a call"
		case absint.SymbolThread:
			return "thread-local data"
		case absint.SymbolLoad:
			return "memory behind a pointer"
		}
		return "caller's memory"
	case absint.KindSet:
		return "one of several places"
	}
	return "address not read"
}

// mayCall reports whether an instruction may be a capability call, by its system call number.
func (a *analysis) mayCall(in *isa.Insn, constant func(isa.Reg) (uint64, bool)) bool {
	sinks := a.SinksAt[a.p.LocalTarget(in.Target)]
	if in.Flow == isa.FlowSyscall {
		sinks = []*absint.Sink{a.Inline}
	}
	for _, k := range sinks {
		r, ok := a.numberRegister(k)
		v, known := constant(r)
		if !ok || !known || a.Machine.IsCapability(v) {
			return true
		}
	}
	return false
}

// numberRegister returns the register that holds the system call number of a sink.
func (a *analysis) numberRegister(k *absint.Sink) (isa.Reg, bool) {
	if k.Number.Kind == absint.KindSymbol && k.Number.Off == 0 {
		if o := a.Values.Origin(k.Number); o.Kind == absint.SymbolRegister {
			return o.Reg, true
		}
	}
	return isa.RegNone, false
}
