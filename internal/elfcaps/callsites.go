package elfcaps

import (
	"github.com/capvet/capvet/internal/isa"
)

// mayCall reports whether an instruction may be a capability call: not if it has
// another constant as its system call number.
func (a *analysis) mayCall(in *isa.Insn, constant func(isa.Reg) (uint64, bool)) bool {
	for _, k := range a.sinksHere(in) {
		r, ok := a.numberRegister(k)
		v, known := constant(r)
		if !ok || !known || a.m.IsCapability(v) {
			return true
		}
	}
	return false
}

// sinksHere are the sinks that an instruction reaches directly.
func (a *analysis) sinksHere(in *isa.Insn) []*sink {
	if in.Flow == isa.FlowSyscall {
		return []*sink{a.inline}
	}
	return a.sinksAt[a.p.LocalTarget(in.Target)]
}

// numberRegister returns the register that a sink takes its number from.
func (a *analysis) numberRegister(k *sink) (isa.Reg, bool) {
	if k.number.kind == kindSymbol && k.number.off == 0 {
		if o := a.names.origins[k.number.id]; o.kind == symbolRegister {
			return o.reg, true
		}
	}
	return isa.RegNone, false
}
