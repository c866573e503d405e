package elfcaps

import (
	"encoding/binary"
	"slices"

	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// scannerARM64 keeps what it saw before a chunk's start.
type scannerARM64 struct {
	p *program
	// classes are of the top byte of an instruction; 0 where this query wants
	// nothing of it.
	classes [256]uint8
	pages   [32]struct {
		pc, page uint64
	}
	last struct {
		pc, page, slot uint64 // of the load, of the page's computation
		reg            uint32
		listed         bool // among the findings' slots
	}
	// halves are what moves of 16 bits have put into each register.
	halves [32]struct {
		pc    uint64
		value uint32
	}
}

// maxHalves is how far apart, in bytes, the moves that make one constant are.
const maxHalves = 64

// classes of the top byte of an arm64 instruction.
const (
	classCall = 1 + iota
	classJump
	classCond
	classTest
	classAdrp
	classLoad
	classSvc
	classMovk
	classBr
	classAdd
	classLiteral
)

// newScannerARM64 returns a scanner that looks at what the query wants only:
// most of its time goes into telling instructions apart.
func newScannerARM64(p *program, q *query) *scannerARM64 {
	s := &scannerARM64{p: p}
	class := func(c uint8, tops ...uint8) {
		for _, t := range tops {
			s.classes[t] = c
		}
	}
	if q.transfers() {
		class(classCall, 0x94, 0x95, 0x96, 0x97)
		class(classJump, 0x14, 0x15, 0x16, 0x17)
	}
	if len(q.targets)+len(q.fragments) > 0 || q.list != nil {
		class(classCond, 0x54, 0x34, 0x35, 0xb4, 0xb5)
		class(classTest, 0x36, 0x37, 0xb6, 0xb7)
	}
	if len(q.takings) > 0 {
		class(classAdd, 0x91)
		class(classLiteral, 0x58)
	}
	if q.imports || q.slots != nil || len(q.takings) > 0 {
		class(classAdrp, 0x90, 0xb0, 0xd0, 0xf0, 0x10, 0x30, 0x50, 0x70)
		class(classLoad, 0xf9)
		class(classBr, 0xd6)
	}
	if q.first {
		class(classSvc, 0xd4)
		class(classMovk, 0x72, 0xf2, 0x52, 0xd2)
	}
	return s
}

// versionHalf says that imm is 16 bits of a header version.
func versionHalf(imm uint32) bool {
	switch imm {
	case report.HeaderV1 & 0xffff, report.HeaderV1 >> 16, report.HeaderV2 & 0xffff, report.HeaderV2 >> 16, report.HeaderV3 & 0xffff, report.HeaderV3 >> 16:
		return true
	}
	return false
}

// keeps reports whether no instruction from start to end writes r.
func (s *scannerARM64) keeps(start, end uint64, r isa.Reg) bool {
	if end-start > maxHoist || !s.p.f.Spend(int(end-start)/4) {
		return false
	}
	var in isa.Insn
	for pc := start; pc < end; pc += 4 {
		if !s.p.m.Decode(s.p.f.Bytes(pc, 4), pc, &in) {
			return false
		}
		if in.Flow == isa.FlowCall && !slices.Contains(s.p.m.CalleeSaved, r) {
			return false
		}
		ops := in.Ops()
		for i := range ops {
			if o := &ops[i]; o.Dst == r && o.Code != isa.OpStore {
				return false
			}
		}
	}
	return true
}

// finish adds nothing: chunk sees every instruction.
func (s *scannerARM64) finish(*query, *findings) {}

// maxHoist is how far, in bytes, an import slot's page may be computed ahead.
const maxHoist = 32 << 10

func (s *scannerARM64) chunk(q *query, out *findings, b []byte, n int, pc uint64) {
	n &^= 3
	for i := 0; i < n; i += 4 {
		w := binary.LittleEndian.Uint32(b[i:])
		at := pc + uint64(i)
		switch s.classes[w>>24] {
		case classCall:
			out.transfer(q, at, at+uint64(isa.SignExtend(uint64(w&0x3ffffff), 26)<<2), true)
		case classJump:
			out.transfer(q, at, at+uint64(isa.SignExtend(uint64(w&0x3ffffff), 26)<<2), false)
		case classCond:
			out.transfer(q, at, at+uint64(isa.SignExtend(uint64(w>>5&0x7ffff), 19)<<2), false)
		case classTest:
			out.transfer(q, at, at+uint64(isa.SignExtend(uint64(w>>5&0x3fff), 14)<<2), false)
		case classAdrp:
			imm := isa.SignExtend(uint64(w>>5&0x7ffff)<<2|uint64(w>>29&3), 21)
			p := &s.pages[w&31]
			p.pc = at
			if w>>31 == 1 {
				p.page = at&^0xfff + uint64(imm<<12)
			} else {
				p.page = at + uint64(imm)
				out.taking(q, at, p.page)
			}
		case classLoad:
			if w>>22&3 != 1 {
				break
			}
			p := &s.pages[w>>5&31]
			slot := p.page + uint64(w>>10&0xfff)<<3
			if _, wanted := q.slots[slot]; wanted {
				if at-p.pc <= 8 || s.keeps(p.pc+4, at, isa.Reg(w>>5&31)) {
					out.slots = append(out.slots, hit{at, slot, p.pc})
				}
			} else if _, ok := s.p.f.GOT().Imports[slot]; ok && q.imports {
				s.last.pc, s.last.page, s.last.slot, s.last.reg, s.last.listed = at, p.pc, slot, w&31, false
				if s.p.f.GOT().EagerlyBound[slot] && s.keeps(p.pc+4, at, isa.Reg(w>>5&31)) {
					out.slots = append(out.slots, hit{at, slot, p.pc})
					s.last.listed = true
				}
			}
		case classAdd:
			p := &s.pages[w>>5&31]
			if at-p.pc <= maxHoist {
				out.taking(q, at, p.page+uint64(w>>10&0xfff))
			}
		case classLiteral:
			if v, ok := s.p.f.PointerAt(at + uint64(isa.SignExtend(uint64(w>>5&0x7ffff), 19)<<2)); ok {
				out.taking(q, at, v)
			}
		case classBr:
			if q.imports && w&0xfffffc1f == 0xd61f0000 && s.last.slot != 0 && at-s.last.pc <= 8 && w>>5&31 == s.last.reg && at-s.last.page <= maxPLTEntry*4 {
				if s.last.listed {
					out.slots = out.slots[:len(out.slots)-1]
				}
				for _, pc := range s.p.entryStarts(s.last.page) {
					out.stubs = append(out.stubs, hit{pc: pc, target: s.last.slot})
				}
			}
		case classSvc:
			if w&0xffe0001f == 0xd4000001 {
				out.kernel = append(out.kernel, at)
			}
		case classMovk:
			// The two halves of a header version, in either order.
			if hw := w >> 21 & 3; versionHalf(w>>5&0xffff) && w>>29&3 >= 2 && hw < 2 && w>>23&1 == 1 {
				h := &s.halves[w&31]
				if w>>29&3 == 2 {
					h.value = 0
				}
				shift := 16 * hw
				h.value = h.value&^(0xffff<<shift) | w>>5&0xffff<<shift
				if w>>29&3 == 3 && report.ABIOfHeader(h.value) != report.ABIUnknown && at-h.pc <= maxHalves {
					out.consts = append(out.consts, at)
				}
				h.pc = at
			}
		}
	}
}
