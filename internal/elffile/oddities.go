package elffile

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"
)

// checkHeaders compares the program headers that the dynamic loader reads, in memory, with those
// that the kernel reads, in the file (Linux, fs/binfmt_elf.c: AT_PHDR).
func (f *File) checkHeaders() {
	at, loaded, interpreter := uint64(0), false, false
	for _, s := range f.h.segments {
		interpreter = interpreter || s.Type == elf.PT_INTERP
		if s.Type == elf.PT_LOAD && !loaded && f.h.phoff >= s.Off && f.h.phoff-s.Off < s.Filesz {
			at, loaded = f.h.phoff-s.Off+s.Vaddr, true
		}
	}
	if !interpreter {
		return
	}
	for rest, addr := f.h.table, at; len(rest) > 0; {
		b := f.Bytes(addr, min(len(rest), blockSize))
		if len(b) == 0 || !bytes.HasPrefix(rest, b) {
			f.leave("the program headers in memory differ from those in the file")
			return
		}
		rest, addr = rest[len(b):], addr+uint64(len(b))
	}
	for _, s := range f.h.segments {
		if s.Type == elf.PT_PHDR && s.Vaddr != at {
			f.leave("the program headers are at %#x, not at %#x as they say", at, s.Vaddr)
		}
	}
}

const (
	maxUncovered = 64 // bytes between two sections
	maxSampled   = 64 // functions
)

// sectionsLie reports whether the section headers, which no loader reads, hide code: bytes of an
// executable segment that are in no section, functions outside of the executable ones, or PLT
// entries outside of those that are named so.
func (f *File) sectionsLie() bool {
	inCode := func(addr uint64) bool {
		return slices.ContainsFunc(f.Code, func(s Span) bool { return s.Holds(addr) })
	}
	for slot := range f.GOT.Imports {
		v, _ := f.Word(slot, 8) // before its symbol is bound, a slot leads to the PLT
		if v != 0 && !f.GOT.EagerlyBound[slot] && f.Executable(v) && !slices.ContainsFunc(f.PLT, func(s Span) bool { return s.Holds(v) }) {
			return true
		}
	}
	if u := newEHFrame(f, false); u.count > 0 {
		for i := 0; i < u.count; i += 1 + u.count/maxSampled {
			if start := u.start(i); f.Executable(start) && !inCode(start) {
				return true
			}
		}
	}
	for i := range f.h.segments {
		if s := &f.h.segments[i]; s.Type == elf.PT_LOAD && s.Executable && f.uncovered(s) {
			return true
		}
	}
	return false
}

// uncovered reports whether a segment has bytes other than zeros that are in no section and not in
// the headers.
func (f *File) uncovered(s *Segment) bool {
	end := s.Off + s.Filesz
	covered := append(make([]Span, 0, len(f.h.sections)+4), // file offsets
		Span{0, uint64(binary.Size(elf.Header64{}))}, Span{f.h.phoff, f.h.phoff + uint64(len(f.h.table))},
		Span{f.h.shoff, f.h.shoff + f.h.shsize}, Span{end, end})
	for _, c := range f.h.sections {
		if c.Type != elf.SHT_NOBITS {
			covered = append(covered, Span{c.Offset, c.Offset + c.Size})
		}
	}
	slices.SortFunc(covered, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	at, found := s.Off, false
	for _, c := range covered {
		if to := min(c.Start, end); to > at && to-at > maxUncovered {
			f.Search(at, to-at, 0, func(_ uint64, b []byte) bool {
				found = found || slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
				return !found
			})
		}
		at = max(at, c.End)
	}
	return found
}

const (
	upxMagic = "UPX!"
	// upxTail is the size of the end of the file with UPX's header, in bytes.
	upxTail = 64
)

// Packed reports whether the program unpacks itself when it starts, so that its code is not in
// the file. UPX writes a header behind the program headers and one at the end of the file; other
// packers, and edited files, have no section headers, no dynamic section, and unpack into memory
// that is executable and writable or reserved, or from bytes that are not mapped.
func (f *File) Packed() bool {
	// A checksum precedes the magic number.
	if b, err := f.h.readRange(f.h.phoff+uint64(len(f.h.table)), 8); err == nil && string(b[4:]) == upxMagic {
		return true
	}
	if f.HasSections() || len(f.tags) > 0 {
		return false
	}
	tail := min(f.h.size, upxTail)
	if b, err := f.h.readRange(f.h.size-tail, tail); err == nil && bytes.Contains(b, []byte(upxMagic)) {
		return true
	}
	mapped := uint64(0)
	for _, s := range f.loads {
		mapped += s.Filesz
		if s.Writable && (s.Executable || s.Filesz == 0 && s.Memsz >= f.h.size) {
			return true
		}
	}
	return mapped < f.h.size/2
}
