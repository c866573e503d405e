package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// leave handles a jump out of the function to a sink, as a tail call is.
func (r *run) leave(s *state, target, pc uint64) bool {
	if target == r.entry || len(r.a.sinksAt[target]) == 0 {
		return false
	}
	r.leaves = true
	t := s.clone()
	r.call(t, constant(target), pc, 0)
	return !r.span.Holds(target)
}

func (r *run) callee(s *state, in *isa.Insn) value {
	if !in.CalleeMem {
		return r.a.get(s, in.Callee)
	}
	return r.a.load(s, r.a.address(s, &in.Mem), 8)
}

// call models a call: what is passed to a sink is noted, then what a callee
// may change is unknown.
func (r *run) call(s *state, callee value, pc uint64, pushed int64) {
	a := r.a
	entrySP := plus(s.regs[a.m.SP], -pushed)
	sinks := a.sinksOf(callee)
	for _, k := range sinks {
		r.sight(s, k, pc, entrySP)
	}
	if len(sinks) == 0 && callee.kind != kindConst && r.observe {
		// A call through a pointer that was not read: what it passes may still
		// leave no doubt, or be worth another look.
		k := a.imports["syscall"]
		if a.isCapabilityCall(a.get(s, a.m.CallArgs[0])) {
			version := a.eval(s, k.version, entrySP)
			if knownHeader(version) || !a.effects && !a.fromEntry(version) {
				r.sight(s, k, pc, entrySP)
			}
		}
	}
	result := a.names.symbol(origin{kind: symbolResult, pc: pc})
	var after [isa.NumRegs]value
	var how [isa.NumRegs]trail
	ok := false
	if name := a.calleeName(callee); name == "dlsym" {
		result = a.lookedUp(s, result)
	} else if name == threadDescriptor { // it keeps every other register
		s.regs[a.m.Result] = a.threadResult(s, name, result)
		return
	} else if name == threadAddress {
		result = a.threadResult(s, name, result)
	} else if name != "" {
		a.libraryCall(s, name, a.callTrail(s, pc))
	} else if a.effects && len(sinks) == 0 {
		after, how, ok = a.applyEffects(s, callee, pc, entrySP)
	}
	if !r.observe {
		if r.calls == nil {
			r.calls = s.clone()
			for i := range r.calls.regs {
				if isa.Reg(i) != a.m.SP && !slices.Contains(a.m.CalleeSaved, isa.Reg(i)) {
					r.calls.regs[i] = top
				}
			}
		}
	}
	var kept [isa.NumRegs]value
	if ok {
		kept = after
		if kept[a.m.Result].kind != kindTop {
			result = kept[a.m.Result]
		}
	}
	for _, p := range a.m.CalleeSaved {
		if !r.isGo {
			kept[p] = s.regs[p]
		}
	}
	kept[a.m.SP] = s.regs[a.m.SP]
	kept[a.m.Result] = result
	s.regs = kept
	a.called(s, pc, how)
	r.goState(s)
}

// sight notes what a call of sink k passes, and what the kernel writes back.
func (r *run) sight(s *state, k *sink, pc uint64, entrySP value) {
	a := r.a
	g := sighting{pc: pc, sink: k, span: r.span, entry: r.entry}
	g.number = a.eval(s, k.number, entrySP)
	g.header = a.eval(s, k.header, entrySP)
	g.data = a.eval(s, k.data, entrySP)
	g.version = a.eval(s, k.version, entrySP)
	if s.trails != nil {
		for i, v := range []value{k.number, k.header, k.version} {
			g.how[i] = a.names.both(k.at.how[i], a.evalTrail(s, v, entrySP))
		}
	}
	if a.isCapabilityCall(g.number) {
		// A NULL data pointer, or a version that the kernel does not know, makes
		// it write back the version that it prefers.
		if g.data.isZero() || g.version.kind == kindConst && !knownHeader(g.version) {
			s.store(g.header, 4, value{kind: kindKernel}, a.callTrail(s, pc))
		}
	}
	if r.observe {
		r.note(g)
	}
}

func (r *run) note(g sighting) {
	n := r.a.names
	for i := range r.seen {
		if o := &r.seen[i]; o.pc == g.pc && o.sink == g.sink {
			o.number, o.header = n.either(o.number, g.number), n.either(o.header, g.header)
			o.data, o.version = n.either(o.data, g.data), n.either(o.version, g.version)
			for i, t := range g.how {
				o.how[i] = n.both(o.how[i], t)
			}
			return
		}
	}
	r.seen = append(r.seen, g)
}

// kernel models an instruction that enters the kernel.
func (r *run) kernel(s *state, pc uint64) {
	r.sight(s, r.a.inline, pc, s.regs[r.a.m.SP])
	s.regs[r.a.m.Result] = r.a.names.symbol(origin{kind: symbolResult, pc: pc})
	if s.trails != nil {
		s.trails[r.a.m.Result] = r.a.callTrail(s, pc)
	}
	for _, c := range r.a.m.SyscallClobbers {
		s.regs[c] = top
	}
}
