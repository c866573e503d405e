package codescan

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/report"
)

// scannerAMD64 searches for the first bytes of the wanted instructions at any
// offset, since instructions have no alignment; decoding the function later rejects
// false matches. One search per byte value is several times as fast as a look at
// each byte.
type scannerAMD64 struct {
	p *Program
	// leads are the byte values to search for.
	leads []byte
}

func newScannerAMD64(p *Program, q *Query) *scannerAMD64 {
	s := &scannerAMD64{p: p}
	if q.branches() {
		s.leads = append(s.leads, 0xe8, 0xe9)
	}
	if len(q.targets)+len(q.Fragments) > 0 || q.Entries {
		s.leads = append(s.leads, 0x0f)
	}
	if len(q.AddressTaken) > 0 {
		s.leads = append(s.leads, 0x8d)
	}
	if q.Imports || q.Slots != nil {
		s.leads = append(s.leads, 0xff, 0x8b)
	}
	return s
}

// candidate checks bytes that begin with one of the leads.
func (s *scannerAMD64) candidate(q *Query, out *Findings, b []byte, at uint64) {
	_ = b[scanPadding-8]
	relative := func(k int) uint64 {
		return at + uint64(k) + 4 + uint64(int64(int32(binary.LittleEndian.Uint32(b[k:]))))
	}
	switch second := b[1]; b[0] {
	case 0xe8, 0xe9:
		out.branch(q, at, relative(1), b[0] == 0xe8)
	case 0x0f:
		switch {
		case second == 0x05 && q.Entries:
			out.Entries = append(out.Entries, at)
		case second&0xf0 == 0x80:
			out.branch(q, at, relative(2), false)
		}
	case 0x8d:
		if second&0xc7 == 0x05 {
			out.addressTaken(q, at, relative(2))
		}
	case 0xff, 0x8b:
		if b[0] == 0xff && second != 0x15 && second != 0x25 || b[0] == 0x8b && second&0xc7 != 0x05 {
			return
		}
		slot := relative(2)
		if _, wanted := q.Slots[slot]; wanted {
			out.Slots = append(out.Slots, Hit{PC: at, Target: slot})
			return
		}
		if !q.Imports || s.p.file.GOT().Imports[slot] == "" {
			return
		}
		if (b[0] == 0xff && second == 0x25 || b[0] == 0x8b && second == 0x1d) && s.pltEntry(out, at, slot) {
			return
		}
		out.Slots = append(out.Slots, Hit{PC: at, Target: slot})
	}
}

// pltEntry records the PLT entry around the jump or load at at, and reports whether
// there is one. A retpoline entry loads its slot.
func (s *scannerAMD64) pltEntry(out *Findings, at, slot uint64) bool {
	in := slices.ContainsFunc(s.p.file.PLT, func(r elffile.Span) bool { return r.Holds(at) })
	if !in && s.p.file.HasSections() {
		return false
	}
	// Without sections, the alignment of a jump and the kind of slot of a load tell.
	b := s.p.file.Bytes(at, 1)
	load := len(b) == 1 && b[0] == 0x8b
	if !in && (load && s.p.file.GOT().EagerlyBound[slot] || !load && at%8 > 5) {
		return false
	}
	for _, pc := range s.p.entryStarts(at) {
		out.PLT = append(out.PLT, Hit{PC: pc, Target: slot})
	}
	return true
}

// finish looks for the two-byte jumps around each target, which chunk leaves out.
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
	for _, lead := range s.leads {
		for i := 0; i < n; i++ {
			k := bytes.IndexByte(b[i:n], lead)
			if k < 0 {
				break
			}
			i += k
			s.candidate(q, out, b[i:], pc+uint64(i))
		}
	}
	if s.p.file.FixedAddress() {
		// Without relocation, an instruction may hold the address itself.
		for target := range q.AddressTaken {
			s.each(b, n, uint32(target), func(i int) { out.addressTaken(q, pc+uint64(i), target) })
		}
	}
	if !q.Entries {
		return
	}
	for _, version := range [...]uint32{report.HeaderV1, report.HeaderV2, report.HeaderV3} {
		s.each(b, n, version, func(i int) { out.HeaderConstants = append(out.HeaderConstants, pc+uint64(i)) })
	}
}

// each calls found for every offset below n at which the four bytes of v begin.
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
