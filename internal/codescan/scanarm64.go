package codescan

import (
	"encoding/binary"
	"slices"

	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// Distances in bytes.
const (
	maxHalves = 64       // between the moves of one constant
	maxHoist  = 32 << 10 // from the computation of a page to its use
)

// Classes of instructions by their top byte. 0 means irrelevant for the query.
const (
	classCall = 1 + iota
	classJump
	classCond
	classTest
	classAdrp
	classLoad
	classSvc
	classMov
	classBr
	classAdd
	classLiteral
)

// scannerARM64 classifies all instructions. Its state lasts from chunk to chunk.
type scannerARM64 struct {
	p       *Program
	classes [256]uint8
	// pages are the results of the last adrp or adr to each register.
	pages [32]struct{ pc, page uint64 }
	// load is the last load of an imported function's slot.
	load struct {
		pc, pagePC, slot uint64
		reg              uint32
		listed           bool // in Findings.Slots
	}
	// halves are the constants that movz and movk build in each register.
	halves [32]struct {
		pc    uint64
		value uint32
	}
}

// newScannerARM64 sets only the classes of the query: classification takes most of the time.
func newScannerARM64(p *Program, q *Query) *scannerARM64 {
	s := &scannerARM64{p: p}
	class := func(c uint8, tops ...uint8) {
		for _, t := range tops {
			s.classes[t] = c
		}
	}
	if q.branches() {
		class(classCall, 0x94, 0x95, 0x96, 0x97)
		class(classJump, 0x14, 0x15, 0x16, 0x17)
	}
	if len(q.targets)+len(q.fragments) > 0 || q.Branches != nil {
		class(classCond, 0x54, 0x34, 0x35, 0xb4, 0xb5)
		class(classTest, 0x36, 0x37, 0xb6, 0xb7)
	}
	if len(q.AddressTaken) > 0 {
		class(classAdd, 0x91)
		class(classLiteral, 0x58)
	}
	if q.Imports || q.Slots != nil || len(q.AddressTaken) > 0 {
		class(classAdrp, 0x90, 0xb0, 0xd0, 0xf0, 0x10, 0x30, 0x50, 0x70)
		class(classLoad, 0xf9)
		class(classBr, 0xd6)
	}
	if q.Entries {
		class(classSvc, 0xd4)
		class(classMov, 0x72, 0xf2, 0x52, 0xd2)
	}
	return s
}

// isVersionHalf reports whether imm is the low or high half of a header version.
func isVersionHalf(imm uint32) bool {
	return slices.ContainsFunc(headerVersions[:], func(v uint32) bool { return imm == v&0xffff || imm == v>>16 })
}

// keeps reports whether the code from start to end preserves r.
func (s *scannerARM64) keeps(start, end uint64, r isa.Reg) bool {
	if end-start > maxHoist || !s.p.file.Spend(int(end-start)/4) {
		return false
	}
	var in isa.Insn
	for pc := start; pc < end; pc += 4 {
		if !s.p.machine.Decode(s.p.file.Bytes(pc, 4), pc, &in) {
			return false
		}
		if in.Flow == isa.FlowCall && !slices.Contains(s.p.machine.CalleeSaved, r) {
			return false
		}
		if slices.ContainsFunc(in.Ops(), func(o isa.Operation) bool { return o.Dst == r && o.Code != isa.OpStore }) {
			return false
		}
	}
	return true
}

func (s *scannerARM64) finish(*Query, *Findings) {}

func (s *scannerARM64) chunk(q *Query, out *Findings, b []byte, n int, pc uint64) {
	n &^= 3
	for i := 0; i < n; i += 4 {
		w := binary.LittleEndian.Uint32(b[i:])
		at := pc + uint64(i)
		switch s.classes[w>>24] {
		case classCall:
			out.branch(q, at, at+uint64(isa.SignExtend(uint64(w&0x3ffffff), 26)<<2), true)
		case classJump:
			out.branch(q, at, at+uint64(isa.SignExtend(uint64(w&0x3ffffff), 26)<<2), false)
		case classCond:
			out.branch(q, at, at+uint64(isa.SignExtend(uint64(w>>5&0x7ffff), 19)<<2), false)
		case classTest:
			out.branch(q, at, at+uint64(isa.SignExtend(uint64(w>>5&0x3fff), 14)<<2), false)
		case classAdrp:
			imm := isa.SignExtend(uint64(w>>5&0x7ffff)<<2|uint64(w>>29&3), 21)
			p := &s.pages[w&31]
			p.pc = at
			if w>>31 == 1 {
				p.page = at&^0xfff + uint64(imm<<12)
			} else {
				p.page = at + uint64(imm)
				out.addressTaken(q, at, p.page)
			}
		case classLoad:
			if w>>22&3 != 1 {
				break
			}
			p := &s.pages[w>>5&31]
			slot := p.page + uint64(w>>10&0xfff)<<3
			if _, wanted := q.Slots[slot]; wanted {
				if at-p.pc <= 8 || s.keeps(p.pc+4, at, isa.Reg(w>>5&31)) {
					out.Slots = append(out.Slots, Hit{at, slot, p.pc})
				}
			} else if _, ok := s.p.file.GOT.Imports[slot]; ok && q.Imports {
				s.load.pc, s.load.pagePC, s.load.slot, s.load.reg, s.load.listed = at, p.pc, slot, w&31, false
				if s.p.file.GOT.EagerlyBound[slot] && s.keeps(p.pc+4, at, isa.Reg(w>>5&31)) {
					out.Slots = append(out.Slots, Hit{at, slot, p.pc})
					s.load.listed = true
				}
			}
		case classAdd:
			p := &s.pages[w>>5&31]
			if at-p.pc <= maxHoist {
				out.addressTaken(q, at, p.page+uint64(w>>10&0xfff))
			}
		case classLiteral:
			if v, ok := s.p.file.PointerAt(at + uint64(isa.SignExtend(uint64(w>>5&0x7ffff), 19)<<2)); ok {
				out.addressTaken(q, at, v)
			}
		case classBr:
			l := &s.load
			if q.Imports && w&0xfffffc1f == 0xd61f0000 && l.slot != 0 && at-l.pc <= 8 && w>>5&31 == l.reg && at-l.pagePC <= maxPLTEntry*4 {
				if l.listed {
					out.Slots = out.Slots[:len(out.Slots)-1]
				}
				for _, pc := range s.p.entryStarts(l.pagePC) {
					out.PLT = append(out.PLT, Hit{PC: pc, Target: l.slot})
				}
			}
		case classSvc:
			if w&0xffe0001f == 0xd4000001 {
				out.Entries = append(out.Entries, at)
			}
		case classMov:
			// movz and movk of the two halves of a header version, in either order.
			if hw := w >> 21 & 3; isVersionHalf(w>>5&0xffff) && w>>29&3 >= 2 && hw < 2 && w>>23&1 == 1 {
				h := &s.halves[w&31]
				if w>>29&3 == 2 {
					h.value = 0
				}
				shift := 16 * hw
				h.value = h.value&^(0xffff<<shift) | w>>5&0xffff<<shift
				if w>>29&3 == 3 && report.ABIOfHeader(h.value) != report.ABIUnknown && at-h.pc <= maxHalves {
					out.HeaderConstants = append(out.HeaderConstants, at)
				}
				h.pc = at
			}
		}
	}
}
