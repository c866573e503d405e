package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// pltRanges splits the code into PLT entries, where sections tell them apart, and
// the rest.
func (p *program) pltRanges() (plt, rest []elffile.Span) {
	for _, r := range p.f.Code {
		if slices.ContainsFunc(p.f.PLT, func(s elffile.Span) bool { return s.Start == r.Start }) {
			plt = append(plt, r)
		} else {
			rest = append(rest, r)
		}
	}
	return plt, rest
}

// entryStarts returns the possible starts of the PLT entry whose jump or address
// computation is at pc. A place that is no start is never called.
func (p *program) entryStarts(pc uint64) (starts []uint64) {
	for _, s := range p.m.PLT {
		if s.Lead == "" || string(p.f.Bytes(pc-s.LeadSize, len(s.Lead))) == s.Lead {
			starts = append(starts, pc-s.Size)
		}
	}
	return starts
}

// localTarget returns the end of a call or jump to target: the function of this
// file behind a PLT entry, else target.
func (p *program) localTarget(target uint64) uint64 {
	slots := p.f.GOT().LocalPLT
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

// slotOf returns the GOT slot that the PLT entry at pc jumps through, 0 without an
// entry.
func (p *program) slotOf(pc uint64) uint64 {
	var in isa.Insn
	known := map[isa.Reg]uint64{}  // addresses
	loaded := map[isa.Reg]uint64{} // slots
	for range maxPLTEntry {
		if !p.m.Decode(p.f.Bytes(pc, p.m.MaxLength), pc, &in) {
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

// maxPLTEntry is the number of instructions in the longest PLT entry.
const maxPLTEntry = 5

// entriesOf returns the possible starts of the PLT entries of functions of this
// file.
func (p *program) entriesOf(functions []uint64) (starts []uint64) {
	q := p.newQuery()
	q.slots = map[uint64]uint64{}
	for slot, f := range p.f.GOT().LocalPLT {
		if slices.Contains(functions, f) {
			q.slots[slot] = f
		}
	}
	if len(q.slots) == 0 {
		return nil
	}
	ranges, _ := p.pltRanges()
	if len(ranges) == 0 {
		ranges = p.f.Code
	}
	for _, h := range p.scan(q, ranges).slots {
		pc := h.pc
		if h.from != 0 {
			pc = h.from
		}
		starts = append(starts, p.entryStarts(pc)...)
	}
	return starts
}
