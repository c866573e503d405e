package elffile

import "debug/elf"

// Span is the range [Start, End) of virtual addresses.
type Span struct{ Start, End uint64 }

// Holds reports whether addr lies in the range.
func (s Span) Holds(addr uint64) bool { return addr >= s.Start && addr < s.End }

// codeRanges returns the executable sections, or the executable segments if the entry point
// is in no section. complete is false if Limits.CodeBytes cuts the code.
func (f *File) codeRanges() (ranges []Span, complete bool) {
	entry := false
	for _, s := range f.h.sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&(elf.SHF_ALLOC|elf.SHF_EXECINSTR) != elf.SHF_ALLOC|elf.SHF_EXECINSTR {
			continue
		}
		if seg := f.SegmentOf(s.Addr); seg == nil || !seg.Executable || s.Addr+s.Size < s.Addr {
			continue
		}
		r := Span{s.Addr, s.Addr + s.Size}
		entry = entry || r.Holds(f.h.entry)
		ranges = append(ranges, r)
	}
	if !entry && (f.h.entry != 0 || len(ranges) == 0) {
		ranges = nil
		for _, s := range f.loads {
			if s.Executable {
				ranges = append(ranges, Span{s.Vaddr, s.Vaddr + s.Filesz})
			}
		}
	}
	complete = true
	left := uint64(f.Limits.CodeBytes)
	for i, r := range ranges {
		n := min(r.End-r.Start, left)
		complete = complete && n == r.End-r.Start
		ranges[i].End, left = r.Start+n, left-n
	}
	return ranges, complete
}

// FunctionCode returns at most Limits.FunctionBytes of a function, valid until the next call.
func (f *File) FunctionCode(s Span) []byte {
	if s == f.codeSpan && f.codeBuf != nil {
		return f.codeBuf
	}
	off, avail := f.InFile(s.Start)
	n := min(s.End-s.Start, avail, uint64(f.Limits.FunctionBytes))
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
