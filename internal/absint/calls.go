package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// tailCall treats a jump to a sink as a call and reports whether it leaves the function.
func (r *Run) tailCall(s *state, target, pc uint64) bool {
	if target == r.entry || len(r.a.SinksAt[target]) == 0 {
		return false
	}
	r.leaves = true
	t := s.clone()
	r.call(t, Const(target), pc, 0)
	return !r.span.Holds(target)
}

// call records the arguments of a sink, then applies the known effects of the callee.
func (r *Run) call(s *state, callee Value, pc uint64, pushed int64) {
	a := r.a
	entrySP := Add(s.regs[a.Machine.SP], -pushed)
	sinks := a.sinksOf(callee)
	for _, k := range sinks {
		r.record(s, k, pc, entrySP)
	}
	if len(sinks) == 0 && callee.Kind != KindConst && r.observe {
		// A call through an unknown pointer: treat it as one of syscall if its
		// arguments fit, or if summaries of callees may complete them.
		k := a.Imports["syscall"]
		if a.IsCapabilityCall(a.get(s, a.Machine.CallArgs[0])) {
			version := a.eval(s, k.Version, entrySP)
			if KnownHeader(version) || !a.FollowCallees && !a.FromEntry(version) {
				r.record(s, k, pc, entrySP)
			}
		}
	}
	result := a.Values.symbol(Origin{Kind: SymbolResult, PC: pc})
	var kept [isa.NumRegs]Value
	var how [isa.NumRegs]Trail
	if name := a.calleeName(callee); name == "dlsym" {
		result = a.lookedUp(s, result)
	} else if name == tlsDescriptor { // it preserves all other registers
		s.regs[a.Machine.Result] = a.tlsResult(s, name, result)
		return
	} else if name == tlsGetAddr {
		result = a.tlsResult(s, name, result)
	} else if name != "" {
		a.libraryCall(s, name, a.callTrail(s, pc))
	} else if a.FollowCallees && len(sinks) == 0 {
		kept, how = a.applyEffects(s, callee, pc, entrySP)
	}
	if !r.observe && r.calls == nil {
		r.calls = s.clone()
		for i := range r.calls.regs {
			if isa.Reg(i) != a.Machine.SP && !slices.Contains(a.Machine.CalleeSaved, isa.Reg(i)) {
				r.calls.regs[i] = top
			}
		}
	}
	if kept[a.Machine.Result].Kind != KindTop {
		result = kept[a.Machine.Result]
	}
	for _, p := range a.Machine.CalleeSaved {
		if !r.isGo {
			kept[p] = s.regs[p]
		}
	}
	kept[a.Machine.SP] = s.regs[a.Machine.SP]
	kept[a.Machine.Result] = result
	s.regs = kept
	a.called(s, pc, how)
	r.goState(s)
}

// record adds the call of sink k at pc to Seen, and models the store of the kernel.
func (r *Run) record(s *state, k *Sink, pc uint64, entrySP Value) {
	a := r.a
	if s.full || a.Values.full {
		a.cut("the function at %#x stores or computes more values than the limit", r.span.Start)
	}
	g := CallSite{PC: pc, Sink: k, Span: r.span, Entry: r.entry, Arguments: Arguments{
		Number: a.eval(s, k.Number, entrySP), Header: a.eval(s, k.Header, entrySP),
		Data: a.eval(s, k.Data, entrySP), Version: a.eval(s, k.Version, entrySP),
	}}
	if s.trails != nil {
		for i, v := range []Value{k.Number, k.Header, k.Version} {
			g.How[i] = a.Values.JoinTrails(k.Site.How[i], a.evalTrail(s, v, entrySP))
		}
	}
	if a.IsCapabilityCall(g.Number) {
		// For a NULL data pointer, or an unknown version, the kernel writes its
		// preferred version into the header (capget(2)).
		if g.Data.IsZero() || g.Version.Kind == KindConst && !KnownHeader(g.Version) {
			s.store(g.Header, 4, Value{Kind: KindKernel}, a.callTrail(s, pc))
		}
	}
	if r.observe {
		r.merge(g)
	}
}

// merge joins a call site with an earlier one of the same call.
func (r *Run) merge(g CallSite) {
	n := r.a.Values
	for i := range r.Seen {
		if o := &r.Seen[i]; o.PC == g.PC && o.Sink == g.Sink {
			o.Number, o.Header = n.Join(o.Number, g.Number), n.Join(o.Header, g.Header)
			o.Data, o.Version = n.Join(o.Data, g.Data), n.Join(o.Version, g.Version)
			for i, t := range g.How {
				o.How[i] = n.JoinTrails(o.How[i], t)
			}
			return
		}
	}
	r.Seen = append(r.Seen, g)
}

// kernel models the instruction that enters the kernel.
func (r *Run) kernel(s *state, pc uint64) {
	r.record(s, r.a.Inline, pc, s.regs[r.a.Machine.SP])
	s.regs[r.a.Machine.Result] = r.a.Values.symbol(Origin{Kind: SymbolResult, PC: pc})
	if s.trails != nil {
		s.trails[r.a.Machine.Result] = r.a.callTrail(s, pc)
	}
	for _, c := range r.a.Machine.SyscallClobbers {
		s.regs[c] = top
	}
}
