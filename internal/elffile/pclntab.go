package elffile

import (
	"bytes"
	"sort"
	"strings"
)

// goTable finds function bounds and names in the line table of a Go program,
// which stripping leaves in place. Layouts: Go's internal/abi and
// runtime/symtab.go of 1.2, 1.16, 1.18 and 1.20.
type goTable struct {
	f                     *File
	text                  uint64 // what entries are relative to
	functab, funcs, names uint64
	width                 uint64 // bytes of one field of functab
	count                 int
}

const (
	goMagic12  = 0xfffffffb
	goMagic116 = 0xfffffffa
	goMagic118 = 0xfffffff0
	goMagic120 = 0xfffffff1

	maxGoFunctions = 4 << 20
)

func newGoTable(f *File) *goTable {
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		if s, ok := f.c.section(name); ok {
			return readGoTable(f, s.addr)
		}
	}
	if len(f.c.sections) > 0 || !f.isGo {
		return nil
	}
	for _, s := range f.mem.loads {
		for _, magic := range []string{"\xf1\xff\xff\xff\x00\x00", "\xf0\xff\xff\xff\x00\x00"} {
			for _, addr := range f.find(s, []byte(magic), 64) {
				if t := readGoTable(f, addr); t != nil {
					return t
				}
			}
		}
	}
	return nil
}

func readGoTable(f *File, addr uint64) *goTable {
	magic, _ := f.mem.word(addr, 4)
	head := f.mem.bytes(addr, 8)
	if len(head) < 8 || head[7] != 8 {
		return nil
	}
	field := func(i uint64) uint64 { v, _ := f.mem.word(addr+8+8*i, 8); return v }
	t := &goTable{f: f}
	nfunc := field(0)
	switch magic {
	case goMagic118, goMagic120:
		t.names, t.funcs, t.width = addr+field(3), addr+field(7), 4
		t.functab = t.funcs
	case goMagic116:
		t.names, t.funcs, t.width = addr+field(2), addr+field(6), 8
		t.functab = t.funcs
	case goMagic12:
		t.names, t.funcs, t.functab, t.width = addr, addr, addr+16, 8
	default:
		return nil
	}
	if nfunc == 0 || nfunc > maxGoFunctions {
		return nil
	}
	t.count = int(nfunc)
	if t.width == 4 {
		t.text = t.base(addr)
	}
	return t
}

// base is the address that entries are relative to. The table's header says it up
// to Go 1.25; from then on only the module data do, which point at the table
// (runtime/symtab.go, moduledata). What is left is the section, or the entry point.
func (t *goTable) base(table uint64) uint64 {
	if text, _ := t.f.PointerAt(table + 8 + 16); text != 0 && t.f.mem.executable(text) {
		return text
	}
	var modules []uint64
	if s, ok := t.f.c.section(".go.module"); ok {
		modules = append(modules, s.addr)
	} else {
		for slot := range t.f.PointersTo(map[uint64]bool{table: true}) {
			modules = append(modules, slot)
		}
	}
	first, _ := t.f.mem.word(t.functab, 4)
	for _, m := range modules {
		lowest, _ := t.f.PointerAt(m + moduleLowest)
		text, _ := t.f.PointerAt(m + moduleText)
		if t.f.mem.executable(text) && text+first == lowest {
			return text
		}
	}
	if text := t.textFromEntry(); text != 0 {
		return text
	}
	s, _ := t.f.c.section(".text")
	return s.addr
}

// Where the lowest address of a function and the beginning of the code stand in
// the module data.
const (
	moduleLowest = 160
	moduleText   = 176
)

// textFromEntry works out what entries are relative to where nothing else says:
// the file's entry point is _rt0_MACHINE_linux.
func (t *goTable) textFromEntry() uint64 {
	for i := range t.count {
		if b := t.f.mem.bytes(t.nameAddr(i), 5); string(b) == "_rt0_" && strings.HasSuffix(t.f.mem.cString(t.nameAddr(i)), "_linux") {
			return t.f.c.entry - t.start(i)
		}
	}
	return 0
}

func (t *goTable) nameAddr(i int) uint64 {
	off, _ := t.f.mem.word(t.functab+uint64(i)*2*t.width+t.width, int(t.width))
	name, _ := t.f.mem.word(t.funcs+off+t.width, 4)
	return t.names + name
}

func (t *goTable) start(i int) uint64 {
	v, _ := t.f.mem.word(t.functab+uint64(i)*2*t.width, int(t.width))
	return t.text + v
}

// find returns the function that holds addr and its name.
func (t *goTable) find(addr uint64) (Span, string, bool) {
	if t == nil {
		return Span{}, "", false
	}
	i := sort.Search(t.count, func(i int) bool { return t.start(i) > addr }) - 1
	if i < 0 {
		return Span{}, "", false
	}
	r := Span{t.start(i), t.start(i + 1)}
	if !r.Holds(addr) {
		return Span{}, "", false
	}
	return r, t.f.mem.cString(t.nameAddr(i)), true
}

// find returns up to limit addresses in the segment's file content where the
// bytes stand.
func (f *File) find(s Segment, want []byte, limit int) []uint64 {
	var found []uint64
	f.Search(s.off, s.filesz, len(want), func(off uint64, b []byte) bool {
		for i := 0; ; {
			j := bytes.Index(b[i:], want)
			if j < 0 {
				return true
			}
			if addr := s.vaddr + (off - s.off) + uint64(i+j); len(found) == 0 || found[len(found)-1] < addr {
				found = append(found, addr)
			}
			if len(found) >= limit {
				return false
			}
			i += j + 1
		}
	})
	return found
}

// Search reads a range of the file in chunks that overlap by overlap bytes.
func (f *File) Search(off, size uint64, overlap int, visit func(off uint64, b []byte) bool) {
	size = min(size, MaxSearch)
	buf := make([]byte, min(size, chunkSize))
	for done := uint64(0); done < size; {
		b := buf[:min(uint64(len(buf)), size-done)]
		if readFull(f.c.r, b, int64(off+done)) != nil {
			return
		}
		if !visit(off+done, b) || done+uint64(len(b)) >= size {
			return
		}
		done += uint64(len(b) - min(overlap, len(b)-1))
	}
}
