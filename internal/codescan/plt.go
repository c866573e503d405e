package codescan

import (
	"cmp"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// maxPLTEntry is the maximum number of instructions in a PLT entry.
const maxPLTEntry = 5

// PLTRanges splits the code into the sections of PLT entries, if known, and the rest.
func (p *Program) PLTRanges() (plt, rest []elffile.Span) {
	for _, r := range p.file.Code {
		if slices.ContainsFunc(p.file.PLT, func(s elffile.Span) bool { return s.Start == r.Start }) {
			plt = append(plt, r)
		} else {
			rest = append(rest, r)
		}
	}
	return plt, rest
}

// entryStarts returns the possible starts of the PLT entry with the jump or address
// computation at pc. A wrong start is harmless, because no call leads to it.
func (p *Program) entryStarts(pc uint64) (starts []uint64) {
	for _, s := range p.machine.PLT {
		if s.Lead == "" || string(p.file.Bytes(pc-s.LeadSize, len(s.Lead))) == s.Lead {
			starts = append(starts, pc-s.Size)
		}
	}
	return starts
}

// LocalTarget returns the function of this file behind a PLT entry at target, else target.
func (p *Program) LocalTarget(target uint64) uint64 {
	slots := p.file.GOT.LocalPLT
	if len(slots) == 0 || target == 0 {
		return target
	}
	function, known := p.local[target]
	if !known {
		function = target
		if f, ok := slots[p.slotOf(target)]; ok {
			function = f
		}
		p.local[target] = function
	}
	return function
}

// slotOf returns the GOT slot of the PLT entry at pc, or 0 if there is none.
func (p *Program) slotOf(pc uint64) uint64 {
	var in isa.Insn
	addresses, slots := map[isa.Reg]uint64{}, map[isa.Reg]uint64{} // in registers
	for range maxPLTEntry {
		if !p.machine.Decode(p.file.Bytes(pc, p.machine.MaxLength), pc, &in) {
			return 0
		}
		for _, o := range in.Ops() {
			switch o.Code {
			case isa.OpConst:
				addresses[o.Dst] = uint64(o.Imm)
			case isa.OpLoad:
				slots[o.Dst] = addresses[o.A] + uint64(o.Imm)
			}
		}
		switch {
		case in.Flow == isa.FlowJumpIndirect && in.CalleeMem && in.Mem.A == isa.RegZero && in.Mem.B == isa.RegNone:
			return uint64(in.Mem.Imm)
		case in.Flow == isa.FlowJumpIndirect:
			return slots[in.Callee]
		case in.Flow != isa.FlowNext:
			return 0
		}
		pc += uint64(in.Length)
	}
	return 0
}

// PLTEntriesOf returns the possible starts of the PLT entries of functions of this file.
func (p *Program) PLTEntriesOf(functions []uint64) (starts []uint64) {
	q := p.NewQuery()
	q.Slots = map[uint64]uint64{}
	for slot, f := range p.file.GOT.LocalPLT {
		if slices.Contains(functions, f) {
			q.Slots[slot] = f
		}
	}
	if len(q.Slots) == 0 {
		return nil
	}
	ranges, _ := p.PLTRanges()
	if len(ranges) == 0 {
		ranges = p.file.Code
	}
	for _, h := range p.Scan(q, ranges).Slots {
		starts = append(starts, p.entryStarts(cmp.Or(h.From, h.PC))...)
	}
	return starts
}
