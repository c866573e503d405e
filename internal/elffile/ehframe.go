package elffile

import (
	"debug/elf"
	"sort"
)

// ehFrame finds function bounds in .eh_frame_hdr and .eh_frame, the tables of
// exception handling, which stripping leaves in place.
type ehFrame struct {
	f *File
	// table is the address of the binary search table of .eh_frame_hdr, with count
	// pairs of offsets from base: function, frame description entry (FDE).
	table, base uint64
	count       int
	// list replaces a missing search table. It is sorted.
	list []Span
}

// Pointer encodings (DW_EH_PE_*).
const (
	peUData2, peSData2 = 0x02, 0x0a
	peUData4, peSData4 = 0x03, 0x0b
	peUData8, peSData8 = 0x04, 0x0c
	pePCRel, peDataRel = 0x10, 0x30
	peApplication      = 0x70 // mask of the base

	maxUnwindEntries = 1 << 18
	maxUnwindBytes   = 16 << 20
)

// newEHFrame reads the search table or, if all is set, the entries themselves without one.
func newEHFrame(f *File, all bool) *ehFrame {
	u := &ehFrame{f: f}
	for _, s := range f.h.segments {
		if s.Type != elf.PT_GNU_EH_FRAME || s.Filesz < 12 {
			continue
		}
		b := f.Bytes(s.Vaddr, 12)
		if len(b) < 12 || b[0] != 1 || b[2] != peUData4 || b[3] != peDataRel|peSData4 {
			continue
		}
		size := 4
		if b[1]&15 == peUData8 || b[1]&15 == peSData8 || b[1] == 0 {
			size = 8
		}
		count, ok := f.Word(s.Vaddr+4+uint64(size), 4)
		if !ok {
			continue
		}
		u.base, u.table = s.Vaddr, s.Vaddr+8+uint64(size)
		u.count = int(min(count, (s.Filesz-min(s.Filesz, 8+uint64(size)))/8))
		return u
	}
	if s, ok := f.h.section(".eh_frame"); all && ok && s.Size <= maxUnwindBytes {
		u.readAll(s)
	}
	return u
}

// find returns the function that contains addr, or a zero Span.
func (u *ehFrame) find(addr uint64) (s Span) {
	if u.count > 0 {
		i := sort.Search(u.count, func(i int) bool { return u.start(i) > addr }) - 1
		if i >= 0 {
			start := u.start(i)
			s = Span{start, start + u.length(u.field(i, 4))}
		}
	} else if i := sort.Search(len(u.list), func(i int) bool { return u.list[i].Start > addr }) - 1; i >= 0 {
		s = u.list[i]
	}
	if !s.Holds(addr) {
		return Span{}
	}
	return s
}

// start returns the address of function i of the search table.
func (u *ehFrame) start(i int) uint64 { return u.field(i, 0) }

func (u *ehFrame) field(i int, off uint64) uint64 {
	v, _ := u.f.Word(u.table+8*uint64(i)+off, 4)
	return u.base + uint64(int64(int32(v)))
}

// length returns the size in bytes of the function of the FDE at addr, or 0.
func (u *ehFrame) length(addr uint64) uint64 {
	cie, _ := u.f.Word(addr+4, 4)
	if cie == 0 || cie > addr+4 {
		return 0
	}
	size := encodedSize(u.encoding(addr + 4 - cie))
	n, _ := u.f.Word(addr+8+uint64(size), size)
	return n
}

// encoding returns the pointer encoding of the FDEs of the CIE (common information entry) at addr.
func (u *ehFrame) encoding(addr uint64) byte {
	const usual = pePCRel | peSData4
	b := u.f.Bytes(addr+8, 32)
	if len(b) < 2 || b[1] != 'z' {
		return usual
	}
	augmentation := cString(b[1:])
	i := 1 + len(augmentation) + 1
	for range 2 { // LEB128: code and data alignment factors
		for i < len(b) && b[i]&0x80 != 0 {
			i++
		}
		i++
	}
	i += 2 // return address register, length of the augmentation data
	for _, ch := range augmentation[1:] {
		if i >= len(b) {
			break
		}
		switch ch {
		case 'R':
			return b[i]
		case 'P':
			i += 1 + encodedSize(b[i])
		case 'L':
			i++
		case 'S', 'B', 'G':
		default:
			return usual
		}
	}
	return usual
}

// encodedSize returns the size of an encoded pointer, in bytes.
func encodedSize(encoding byte) int {
	switch encoding & 15 {
	case peUData2, peSData2:
		return 2
	case peUData4, peSData4:
		return 4
	}
	return 8
}

// readAll reads the FDEs of .eh_frame into list.
func (u *ehFrame) readAll(s elf.SectionHeader) {
	const extendedLength = 0xfffffff0 // 64-bit DWARF and reserved values
	at, end := s.Addr, s.Addr+s.Size
	for at >= s.Addr && at+12 <= end && len(u.list) < maxUnwindEntries {
		n, ok := u.f.Word(at, 4)
		if !ok || n == 0 || n >= extendedLength {
			break
		}
		if cie, _ := u.f.Word(at+4, 4); cie != 0 && cie <= at+4 {
			enc := u.encoding(at + 4 - cie)
			size := encodedSize(enc)
			start, _ := u.f.Word(at+8, size)
			if size == 4 {
				start = uint64(int64(int32(start)))
			}
			if enc&peApplication == pePCRel {
				start += at + 8
			}
			if length, ok := u.f.Word(at+8+uint64(size), size); ok && start+length > start {
				u.list = append(u.list, Span{start, start + length})
			}
		}
		at += 4 + n
	}
	sort.Slice(u.list, func(i, j int) bool { return u.list[i].Start < u.list[j].Start })
}
