package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// tailCall handles a jump out of the function to a sink, as a tail call is.
func (r *Run) tailCall(s *state, target, pc uint64) bool {
	if target == r.entry || len(r.a.SinksAt[target]) == 0 {
		return false
	}
	r.leaves = true
	t := s.clone()
	r.call(t, Const(target), pc, 0)
	return !r.span.Holds(target)
}

func (r *Run) callee(s *state, in *isa.Insn) Value {
	if !in.CalleeMem {
		return r.a.get(s, in.Callee)
	}
	return r.a.load(s, r.a.address(s, &in.Mem), 8)
}

// call models a call: what is passed to a sink is noted, then what a callee
// may change is unknown.
func (r *Run) call(s *state, callee Value, pc uint64, pushed int64) {
	a := r.a
	entrySP := Add(s.regs[a.Machine.SP], -pushed)
	sinks := a.sinksOf(callee)
	for _, k := range sinks {
		r.sight(s, k, pc, entrySP)
	}
	if len(sinks) == 0 && callee.Kind != KindConst && r.observe {
		// A call through a pointer that was not read: what it passes may still
		// leave no doubt, or be worth another look.
		k := a.Imports["syscall"]
		if a.IsCapabilityCall(a.get(s, a.Machine.CallArgs[0])) {
			version := a.eval(s, k.Version, entrySP)
			if KnownHeader(version) || !a.FollowCallees && !a.FromEntry(version) {
				r.sight(s, k, pc, entrySP)
			}
		}
	}
	result := a.Values.symbol(Origin{Kind: SymbolResult, PC: pc})
	var after [isa.NumRegs]Value
	var how [isa.NumRegs]Trail
	ok := false
	if name := a.calleeName(callee); name == "dlsym" {
		result = a.lookedUp(s, result)
	} else if name == tlsDescriptor { // it keeps every other register
		s.regs[a.Machine.Result] = a.tlsResult(s, name, result)
		return
	} else if name == tlsGetAddr {
		result = a.tlsResult(s, name, result)
	} else if name != "" {
		a.libraryCall(s, name, a.callTrail(s, pc))
	} else if a.FollowCallees && len(sinks) == 0 {
		after, how, ok = a.applyEffects(s, callee, pc, entrySP)
	}
	if !r.observe {
		if r.calls == nil {
			r.calls = s.clone()
			for i := range r.calls.regs {
				if isa.Reg(i) != a.Machine.SP && !slices.Contains(a.Machine.CalleeSaved, isa.Reg(i)) {
					r.calls.regs[i] = top
				}
			}
		}
	}
	var kept [isa.NumRegs]Value
	if ok {
		kept = after
		if kept[a.Machine.Result].Kind != KindTop {
			result = kept[a.Machine.Result]
		}
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

// sight notes what a call of sink k passes, and what the kernel writes back.
func (r *Run) sight(s *state, k *Sink, pc uint64, entrySP Value) {
	a := r.a
	g := CallSite{PC: pc, Sink: k, Span: r.span, Entry: r.entry}
	g.Number = a.eval(s, k.Number, entrySP)
	g.Header = a.eval(s, k.Header, entrySP)
	g.Data = a.eval(s, k.Data, entrySP)
	g.Version = a.eval(s, k.Version, entrySP)
	if s.trails != nil {
		for i, v := range []Value{k.Number, k.Header, k.Version} {
			g.How[i] = a.Values.JoinTrails(k.Site.How[i], a.evalTrail(s, v, entrySP))
		}
	}
	if a.IsCapabilityCall(g.Number) {
		// A NULL data pointer, or a version that the kernel does not know, makes
		// it write back the version that it prefers.
		if g.Data.IsZero() || g.Version.Kind == KindConst && !KnownHeader(g.Version) {
			s.store(g.Header, 4, Value{Kind: KindKernel}, a.callTrail(s, pc))
		}
	}
	if r.observe {
		r.note(g)
	}
}

func (r *Run) note(g CallSite) {
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

// kernel models an instruction that enters the kernel.
func (r *Run) kernel(s *state, pc uint64) {
	r.sight(s, r.a.Inline, pc, s.regs[r.a.Machine.SP])
	s.regs[r.a.Machine.Result] = r.a.Values.symbol(Origin{Kind: SymbolResult, PC: pc})
	if s.trails != nil {
		s.trails[r.a.Machine.Result] = r.a.callTrail(s, pc)
	}
	for _, c := range r.a.Machine.SyscallClobbers {
		s.regs[c] = top
	}
}
