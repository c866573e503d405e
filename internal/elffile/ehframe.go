package elffile

import (
	"debug/elf"
	"sort"
)

// unwind finds function bounds from the tables that exception handling needs,
// which stripping leaves in place (.eh_frame_hdr, .eh_frame; LSB core, DWARF).
type unwind struct {
	f *File
	// table is the search table of .eh_frame_hdr: pairs of offsets from base.
	table, base uint64
	count       int
	// list is used when there is no search table, sorted by start.
	list []Span
}

const (
	encodingSearchTable = 0x3b // relative to the header, signed four bytes
	encodingCount       = 0x03 // unsigned four bytes
	maxUnwindEntries    = 1 << 18
	maxUnwindBytes      = 16 << 20
)

func newUnwind(f *File) *unwind {
	u := &unwind{f: f}
	for _, s := range f.c.segments {
		if s.kind != elf.PT_GNU_EH_FRAME || s.filesz < 12 {
			continue
		}
		b := f.mem.bytes(s.vaddr, 12)
		if len(b) < 12 || b[0] != 1 || b[2] != encodingCount || b[3] != encodingSearchTable {
			continue
		}
		size := 4
		if b[1]&15 == 0x04 || b[1]&15 == 0x0c || b[1] == 0 {
			size = 8
		}
		count, ok := f.mem.word(s.vaddr+4+uint64(size), 4)
		if !ok {
			continue
		}
		u.base, u.table = s.vaddr, s.vaddr+8+uint64(size)
		u.count = int(min(count, (s.filesz-min(s.filesz, 8+uint64(size)))/8))
		return u
	}
	if s, ok := f.c.section(".eh_frame"); ok && s.size <= maxUnwindBytes {
		u.readAll(s)
	}
	return u
}

// find returns the function that holds addr.
func (u *unwind) find(addr uint64) (Span, bool) {
	if u.count > 0 {
		start := func(i int) uint64 {
			v, _ := u.f.mem.word(u.table+8*uint64(i), 4)
			return u.base + uint64(int64(int32(v)))
		}
		i := sort.Search(u.count, func(i int) bool { return start(i) > addr }) - 1
		if i < 0 {
			return Span{}, false
		}
		v, _ := u.f.mem.word(u.table+8*uint64(i)+4, 4)
		s := start(i)
		n, ok := u.length(u.base + uint64(int64(int32(v))))
		if !ok || s+n < s {
			return Span{}, false
		}
		if addr-s >= n {
			return Span{}, false
		}
		return Span{s, s + n}, true
	}
	i := sort.Search(len(u.list), func(i int) bool { return u.list[i].Start > addr }) - 1
	if i < 0 || !u.list[i].Holds(addr) {
		return Span{}, false
	}
	return u.list[i], true
}

// length reads how many bytes the frame description at addr covers.
func (u *unwind) length(addr uint64) (uint64, bool) {
	cie, ok := u.f.mem.word(addr+4, 4)
	if !ok || cie == 0 || cie > addr+4 {
		return 0, false
	}
	size := pointerWidth(u.encoding(addr + 4 - cie))
	return u.f.mem.word(addr+8+uint64(size), size)
}

// encoding reads how the frame descriptions of the common entry at addr spell
// addresses.
func (u *unwind) encoding(addr uint64) byte {
	const relativeFour = 0x1b
	b := u.f.mem.bytes(addr+8, 32)
	if len(b) < 2 || b[1] != 'z' {
		return relativeFour
	}
	augmentation := cString(b[1:])
	i := 1 + len(augmentation) + 1
	for range 2 { // code and data alignment
		for i < len(b) && b[i]&0x80 != 0 {
			i++
		}
		i++
	}
	i += 2 // return register, length of the augmentation
	for _, ch := range augmentation[1:] {
		if i >= len(b) {
			break
		}
		switch ch {
		case 'R':
			return b[i]
		case 'P':
			i += 1 + pointerWidth(b[i])
		case 'L':
			i++
		case 'S', 'B', 'G':
		default:
			return relativeFour
		}
	}
	return relativeFour
}

func pointerWidth(encoding byte) int {
	switch encoding & 15 {
	case 0x02, 0x0a:
		return 2
	case 0x03, 0x0b:
		return 4
	}
	return 8
}

// readAll reads the frame descriptions of .eh_frame one after the other.
func (u *unwind) readAll(s section) {
	at, end := s.addr, s.addr+s.size
	for at >= s.addr && at+12 <= end && len(u.list) < maxUnwindEntries {
		n, ok := u.f.mem.word(at, 4)
		if !ok || n == 0 || n >= 0xfffffff0 {
			break
		}
		if cie, _ := u.f.mem.word(at+4, 4); cie != 0 && cie <= at+4 {
			enc := u.encoding(at + 4 - cie)
			width := pointerWidth(enc)
			start, _ := u.f.mem.word(at+8, width)
			if width == 4 {
				start = uint64(int64(int32(start)))
			}
			if enc&0x70 == 0x10 {
				start += at + 8
			}
			if length, ok := u.f.mem.word(at+8+uint64(width), width); ok && start+length > start {
				u.list = append(u.list, Span{start, start + length})
			}
		}
		at += 4 + n
	}
	sort.Slice(u.list, func(i, j int) bool { return u.list[i].Start < u.list[j].Start })
}
