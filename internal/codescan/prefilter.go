package codescan

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// Prefilter decodes a function without interpreting it and reports whether one of
// the sites needs interpretation: may decides, given the registers that the same
// basic block sets to constants. An indirect call or jump always does.
func (p *Program) Prefilter(g Group, may func(in *isa.Insn, constant func(isa.Reg) (uint64, bool)) bool) bool {
	code := p.file.FunctionCode(g.Span)
	var in isa.Insn
	leaders := map[uint64]bool{}
	p.Sweep(g.Span, code, &in, func(uint64) bool {
		if (in.Flow == isa.FlowJump || in.Flow == isa.FlowBranch) && g.Span.Holds(in.Target) {
			leaders[in.Target] = true
		}
		return true
	})
	last := map[isa.Reg]uint64{}
	constant := func(r isa.Reg) (uint64, bool) { v, ok := last[r]; return v, ok }
	open := false
	p.Sweep(g.Span, code, &in, func(pc uint64) bool {
		if leaders[pc] {
			clear(last)
		}
		if _, ok := slices.BinarySearch(g.Sites, pc); ok {
			direct := in.Flow == isa.FlowSyscall || in.Flow == isa.FlowCall || in.Flow == isa.FlowJump || in.Flow == isa.FlowBranch
			open = open || !direct || may(&in, constant)
		}
		ops := in.Ops()
		for i := range ops {
			switch o := &ops[i]; o.Code {
			case isa.OpStore, isa.OpStoreImm, isa.OpFill, isa.OpCopy:
			case isa.OpConst:
				last[o.Dst] = uint64(o.Imm) & (^uint64(0) >> (64 - 8*min(o.Width, 8)))
			default:
				delete(last, o.Dst)
			}
		}
		if in.Flow != isa.FlowNext {
			clear(last)
		}
		return !open
	})
	return open || p.file.Exhausted()
}

// Sweep decodes a function from start to end, until visit returns false.
func (p *Program) Sweep(s elffile.Span, code []byte, in *isa.Insn, visit func(pc uint64) bool) {
	for at := 0; at < len(code) && p.file.Spend(1); {
		if !p.machine.Decode(code[at:], s.Start+uint64(at), in) {
			at += p.machine.Alignment
			continue
		}
		if !visit(s.Start + uint64(at)) {
			return
		}
		at += in.Length
	}
}
