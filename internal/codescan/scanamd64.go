package codescan

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// scannerAMD64 searches for opcode bytes at any address, one opcode after the other. This
// is several times faster than a look at each byte. Bytes that do not start an
// instruction are discarded later, when the function is decoded.
type scannerAMD64 struct {
	p       *Program
	opcodes []byte
}

func newScannerAMD64(p *Program, q *Query) *scannerAMD64 {
	s := &scannerAMD64{p: p}
	if q.branches() {
		s.opcodes = append(s.opcodes, 0xe8, 0xe9)
	}
	if len(q.targets)+len(q.fragments) > 0 || q.Entries {
		s.opcodes = append(s.opcodes, 0x0f)
	}
	if len(q.AddressTaken) > 0 {
		s.opcodes = append(s.opcodes, 0x8d)
	}
	if q.Imports || q.Slots != nil {
		s.opcodes = append(s.opcodes, 0xff, 0x8b)
	}
	return s
}

// candidate examines the bytes at an opcode.
func (s *scannerAMD64) candidate(q *Query, out *Findings, b []byte, at uint64) {
	_ = b[scanPadding-8]
	relative := func(k int) uint64 {
		return at + uint64(k) + 4 + uint64(int64(int32(binary.LittleEndian.Uint32(b[k:]))))
	}
	switch second := b[1]; b[0] {
	case 0xe8, 0xe9: // call, jmp
		out.branch(q, at, relative(1), b[0] == 0xe8)
	case 0x0f:
		switch {
		case second == 0x05 && q.Entries: // syscall
			out.Entries = append(out.Entries, at)
		case second&0xf0 == 0x80: // jcc
			out.branch(q, at, relative(2), false)
		}
	case 0x8d: // lea
		if second&0xc7 == 0x05 {
			out.addressTaken(q, at, relative(2))
		}
	case 0xff, 0x8b: // call *slot(%rip), jmp *slot(%rip), mov slot(%rip), %reg
		if b[0] == 0xff && second != 0x15 && second != 0x25 || b[0] == 0x8b && second&0xc7 != 0x05 {
			return
		}
		slot := relative(2)
		if _, wanted := q.Slots[slot]; wanted {
			out.Slots = append(out.Slots, Hit{PC: at, Target: slot})
			return
		}
		if !q.Imports || s.p.file.GOT.Imports[slot] == "" {
			return
		}
		// A PLT entry jumps through the slot. A retpoline PLT entry loads it into r11.
		if (b[0] == 0xff && second == 0x25 || b[0] == 0x8b && second == 0x1d) && s.pltEntry(out, at, slot) {
			return
		}
		out.Slots = append(out.Slots, Hit{PC: at, Target: slot})
	}
}

// pltEntry records the possible starts of the PLT entry with the jump or load at pc. It
// reports whether the instruction belongs to a PLT entry.
func (s *scannerAMD64) pltEntry(out *Findings, pc, slot uint64) bool {
	in := slices.ContainsFunc(s.p.file.PLT, func(r elffile.Span) bool { return r.Holds(pc) })
	if !in && s.p.file.HasSections() {
		return false
	}
	// Without section headers: a PLT entry's jump is aligned, and the slot of its load
	// is bound lazily.
	b := s.p.file.Bytes(pc, 1)
	load := len(b) == 1 && b[0] == 0x8b
	if !in && (load && s.p.file.GOT.EagerlyBound[slot] || !load && pc%8 > 5) {
		return false
	}
	for _, start := range s.p.entryStarts(pc) {
		out.PLT = append(out.PLT, Hit{PC: start, Target: slot})
	}
	return true
}

// finish searches for two-byte jumps near each target: chunk would find too many.
func (s *scannerAMD64) finish(q *Query, out *Findings) {
	for t := range q.targets {
		first := t - min(t, 130)
		b := s.p.file.Bytes(first, 260)
		for i := 0; i+1 < len(b); i++ {
			pc := first + uint64(i)
			if (b[i] == 0xeb || b[i]&0xf0 == 0x70) && pc+2+uint64(int64(int8(b[i+1]))) == t {
				out.Calls = append(out.Calls, Hit{PC: pc, Target: t})
			}
		}
	}
}

func (s *scannerAMD64) chunk(q *Query, out *Findings, b []byte, n int, pc uint64) {
	for _, opcode := range s.opcodes {
		for i := 0; i < n; i++ {
			k := bytes.IndexByte(b[i:n], opcode)
			if k < 0 {
				break
			}
			i += k
			s.candidate(q, out, b[i:], pc+uint64(i))
		}
	}
	if s.p.file.FixedAddress() {
		// Instructions may contain absolute addresses as immediates.
		for target := range q.AddressTaken {
			s.each(b, n, uint32(target), func(i int) { out.addressTaken(q, pc+uint64(i), target) })
		}
	}
	if !q.Entries {
		return
	}
	for _, version := range headerVersions {
		s.each(b, n, version, func(i int) { out.HeaderConstants = append(out.HeaderConstants, pc+uint64(i)) })
	}
}

// each calls found with the index of each little-endian v in the first n bytes of b.
func (s *scannerAMD64) each(b []byte, n int, v uint32, found func(int)) {
	var want [4]byte
	binary.LittleEndian.PutUint32(want[:], v)
	for i := 0; i < n; i++ {
		k := bytes.Index(b[i:n+3], want[:])
		if k < 0 {
			return
		}
		i += k
		found(i)
	}
}
