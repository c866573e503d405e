package elfcaps

import "slices"

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
	return a.sinksAt[a.beyond(in.target)]
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
