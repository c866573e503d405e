package codescan

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// Prefilter reports whether the function of g needs interpretation: reachesSink returns
// true for one of the sites, or a site is an indirect call or jump. constant returns
// the value of a register that the site's basic block sets to a constant.
func (p *Program) Prefilter(g Group, reachesSink func(in *isa.Insn, constant func(isa.Reg) (uint64, bool)) bool) bool {
	if g.Span.End-g.Span.Start > uint64(p.file.Limits.FunctionBytes) {
		return p.prefilterLong(g, reachesSink)
	}
	code := p.file.FunctionCode(g.Span)
	var in isa.Insn
	leaders := map[uint64]bool{}
	p.Sweep(g.Span, code, &in, func(uint64) bool {
		if (in.Flow == isa.FlowJump || in.Flow == isa.FlowBranch) && g.Span.Holds(in.Target) {
			leaders[in.Target] = true
		}
		return true
	})
	constants := map[isa.Reg]uint64{}
	constant := func(r isa.Reg) (uint64, bool) { v, ok := constants[r]; return v, ok }
	reaches := false
	p.Sweep(g.Span, code, &in, func(pc uint64) bool {
		if leaders[pc] {
			clear(constants)
		}
		if _, ok := slices.BinarySearch(g.Sites, pc); ok {
			direct := in.Flow == isa.FlowSyscall || in.Flow == isa.FlowCall || in.Flow == isa.FlowJump || in.Flow == isa.FlowBranch
			reaches = reaches || !direct || reachesSink(&in, constant)
		}
		ops := in.Ops()
		for i := range ops {
			switch o := &ops[i]; o.Code {
			case isa.OpStore, isa.OpStoreImm, isa.OpFill, isa.OpCopy:
			case isa.OpConst:
				constants[o.Dst] = uint64(o.Imm) & (^uint64(0) >> (64 - 8*min(o.Width, 8)))
			default:
				delete(constants, o.Dst)
			}
		}
		if in.Flow != isa.FlowNext {
			clear(constants)
		}
		return !reaches
	})
	return reaches || p.file.Exhausted()
}

// prefilterLong is Prefilter for a function over the limit, in pieces and without constants.
func (p *Program) prefilterLong(g Group, reachesSink func(in *isa.Insn, constant func(isa.Reg) (uint64, bool)) bool) bool {
	var in isa.Insn
	reaches := false
	size := uint64(p.file.Limits.FunctionBytes)
	for at := g.Span.Start; at < g.Span.End && !reaches; at += min(size, g.Span.End-at) {
		piece := elffile.Span{Start: at, End: at + min(size, g.Span.End-at)}
		p.Sweep(piece, p.file.FunctionCode(piece), &in, func(pc uint64) bool {
			if _, ok := slices.BinarySearch(g.Sites, pc); ok {
				indirect := in.Flow == isa.FlowCallIndirect || in.Flow == isa.FlowJumpIndirect
				reaches = indirect || reachesSink(&in, func(isa.Reg) (uint64, bool) { return 0, false })
			}
			return !reaches
		})
	}
	return reaches || p.file.Exhausted()
}

// Sweep decodes code, the code of s, in address order. It calls visit for each
// instruction, decoded into in, until visit returns false. Invalid bytes are skipped.
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

// entryOverlap is the maximum length of a system call instruction. It keeps chunks aligned.
const entryOverlap = 4

// EntersKernel reports whether the code contains the bytes of a system call, at any alignment.
func EntersKernel(f *elffile.File) bool {
	found := false
	for _, r := range f.Code {
		off, avail := f.InFile(r.Start)
		for size := min(r.End-r.Start, avail); size > 0 && !found; {
			n := min(size, elffile.MaxSearch)
			f.Search(off, n, entryOverlap, func(_ uint64, b []byte) bool {
				found = f.Machine.EntersKernel(b)
				return !found
			})
			off, size = off+n, size-n
		}
	}
	return found
}
