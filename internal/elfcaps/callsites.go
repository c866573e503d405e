package elfcaps

import (
	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/isa"
)

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
