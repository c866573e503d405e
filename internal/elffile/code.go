package elffile

import (
	"debug/elf"
	"strings"
)

// Span is a range of virtual addresses, end exclusive.
type Span struct{ Start, End uint64 }

// Holds reports whether addr lies in the range.
func (s Span) Holds(addr uint64) bool { return addr >= s.Start && addr < s.End }

// codeRanges returns the ranges that hold instructions: executable sections, or
// executable segments where sections are missing or leave out the entry point.
// complete is false when there is more code than Limits.CodeBytes.
func (f *File) codeRanges() (ranges []Span, complete bool) {
	entry := false
	for _, s := range f.c.sections {
		if s.kind != elf.SHT_PROGBITS || s.flags&(elf.SHF_ALLOC|elf.SHF_EXECINSTR) != elf.SHF_ALLOC|elf.SHF_EXECINSTR {
			continue
		}
		if seg := f.SegmentOf(s.addr); seg == nil || !seg.Executable || s.addr+s.size < s.addr {
			continue
		}
		r := Span{s.addr, s.addr + s.size}
		entry = entry || r.Holds(f.c.entry)
		ranges = append(ranges, r)
	}
	if !entry && (f.c.entry != 0 || len(ranges) == 0) {
		ranges = nil
		for _, s := range f.mem.loads {
			if s.Executable {
				ranges = append(ranges, Span{s.vaddr, s.vaddr + s.filesz})
			}
		}
	}
	complete = true
	left := uint64(f.Limits.CodeBytes)
	for i, r := range ranges {
		n := min(r.End-r.Start, left)
		if n < r.End-r.Start {
			complete = false
		}
		ranges[i].End, left = r.Start+n, left-n
	}
	return ranges, complete
}

// pltSections returns the address ranges of the sections of PLT entries.
func (f *File) pltSections() (plt []Span) {
	for _, s := range f.c.sections {
		if strings.HasPrefix(s.name, ".plt") {
			plt = append(plt, Span{s.addr, max(s.addr, s.addr+s.size)})
		}
	}
	return plt
}

// FunctionCode returns the bytes of a function, at most Limits.FunctionBytes. The
// slice is valid until the next call.
func (f *File) FunctionCode(s Span) []byte {
	if s == f.codeSpan && f.codeBuf != nil {
		return f.codeBuf
	}
	off, room := f.InFile(s.Start)
	n := min(s.End-s.Start, room, uint64(f.Limits.FunctionBytes))
	if uint64(cap(f.codeBuf)) < n {
		f.codeBuf = make([]byte, n)
	}
	f.codeBuf = f.codeBuf[:n]
	if f.ReadAt(f.codeBuf, off) != nil {
		f.codeBuf = f.codeBuf[:0]
	}
	f.codeSpan = s
	return f.codeBuf
}
