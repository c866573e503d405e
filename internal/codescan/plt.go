package codescan

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// PLTRanges splits the code into PLT entries and the rest. Without section headers
// all code is rest.
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

// entryStarts returns the possible starts of the PLT entry whose jump or address
// computation is at pc. A wrong start does no harm: nothing calls it.
func (p *Program) entryStarts(pc uint64) (starts []uint64) {
	for _, s := range p.machine.PLT {
		if s.Lead == "" || string(p.file.Bytes(pc-s.LeadSize, len(s.Lead))) == s.Lead {
			starts = append(starts, pc-s.Size)
		}
	}
	return starts
}

// LocalTarget returns the final destination of a call or jump: the function of this
// file behind a PLT entry, else target itself.
func (p *Program) LocalTarget(target uint64) uint64 {
	slots := p.file.GOT().LocalPLT
	if len(slots) == 0 || target == 0 {
		return target
	}
	end, known := p.local[target]
	if !known {
		end = target
		if f, ok := slots[p.slotOf(target)]; ok {
			end = f
		}
		p.local[target] = end
	}
	return end
}

// slotOf returns the GOT slot that the PLT entry at pc jumps through, 0 if there is
// no entry.
func (p *Program) slotOf(pc uint64) uint64 {
	var in isa.Insn
	known := map[isa.Reg]uint64{}  // addresses
	loaded := map[isa.Reg]uint64{} // slots
	for range maxPLTEntry {
		if !p.machine.Decode(p.file.Bytes(pc, p.machine.MaxLength), pc, &in) {
			return 0
		}
		for _, o := range in.Ops() {
			switch o.Code {
			case isa.OpConst:
				known[o.Dst] = uint64(o.Imm)
			case isa.OpLoad:
				loaded[o.Dst] = known[o.A] + uint64(o.Imm)
			}
		}
		switch {
		case in.Flow == isa.FlowJumpIndirect && in.CalleeMem && in.Mem.A == isa.RegZero && in.Mem.B == isa.RegNone:
			return uint64(in.Mem.Imm)
		case in.Flow == isa.FlowJumpIndirect:
			return loaded[in.Callee]
		case in.Flow != isa.FlowNext:
			return 0
		}
		pc += uint64(in.Length)
	}
	return 0
}

// maxPLTEntry is the number of instructions of the longest PLT entry.
const maxPLTEntry = 5

// PLTEntriesOf returns the possible starts of the PLT entries of functions of this
// file.
func (p *Program) PLTEntriesOf(functions []uint64) (starts []uint64) {
	q := p.NewQuery()
	q.Slots = map[uint64]uint64{}
	for slot, f := range p.file.GOT().LocalPLT {
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
		pc := h.PC
		if h.From != 0 {
			pc = h.From
		}
		starts = append(starts, p.entryStarts(pc)...)
	}
	return starts
}
