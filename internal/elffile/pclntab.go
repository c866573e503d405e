package elffile

import (
	"sort"
	"strings"
)

// pclntab finds function bounds and names in the line table of a Go program, which stripping
// leaves in place. Layouts: Go's runtime/symtab.go of 1.2, 1.16, 1.18 and 1.20.
type pclntab struct {
	f             *File
	text          uint64 // address, base of the entries of functab
	functionCount int
	fieldSize     uint64 // of functab, in bytes
	// Addresses of the parts of the table.
	functab, funcdata, funcnametab uint64
}

const (
	go12Magic  = 0xfffffffb
	go116Magic = 0xfffffffa
	go118Magic = 0xfffffff0
	go120Magic = 0xfffffff1

	maxGoFunctions = 4 << 20
)

// Sections of the table, of an executable and of a PIE.
var pclntabSections = [...]string{".gopclntab", ".data.rel.ro.gopclntab"}

// Offsets in the runtime's moduledata since Go 1.18 (runtime/symtab.go).
const (
	moduledataMinPC = 160
	moduledataText  = 176
)

func newPclntab(f *File) *pclntab {
	for _, name := range pclntabSections {
		if s, ok := f.h.section(name); ok {
			return readPclntab(f, s.Addr)
		}
	}
	if len(f.h.sections) > 0 || !f.facts.Go {
		return nil
	}
	for _, s := range f.loads {
		for _, magic := range []string{"\xf1\xff\xff\xff\x00\x00", "\xf0\xff\xff\xff\x00\x00"} {
			for _, addr := range f.find(s, []byte(magic), 64) {
				if t := readPclntab(f, addr); t != nil {
					return t
				}
			}
		}
	}
	return nil
}

func readPclntab(f *File, addr uint64) *pclntab {
	magic, _ := f.Word(addr, 4)
	head := f.Bytes(addr, 8)
	if len(head) < 8 || head[7] != 8 {
		return nil
	}
	field := func(i uint64) uint64 { v, _ := f.Word(addr+8+8*i, 8); return v }
	t := &pclntab{f: f}
	nfunc := field(0)
	switch magic {
	case go118Magic, go120Magic:
		t.funcnametab, t.funcdata, t.fieldSize = addr+field(3), addr+field(7), 4
		t.functab = t.funcdata
	case go116Magic:
		t.funcnametab, t.funcdata, t.fieldSize = addr+field(2), addr+field(6), 8
		t.functab = t.funcdata
	case go12Magic:
		t.funcnametab, t.funcdata, t.functab, t.fieldSize = addr, addr, addr+16, 8
	default:
		return nil
	}
	if nfunc > maxGoFunctions {
		f.leave("Go's table has %d functions", nfunc)
	}
	if nfunc == 0 || nfunc > maxGoFunctions {
		return nil
	}
	t.functionCount = int(nfunc)
	if t.fieldSize == 4 {
		t.text = t.textStart(addr)
	}
	return t
}

// textStart returns the base of the entries. Sources, in this order: the header of
// the table (up to Go 1.25), the moduledata that points to the table, the entry
// point, the section.
func (t *pclntab) textStart(table uint64) uint64 {
	if text, _ := t.f.PointerAt(table + 8 + 16); text != 0 && t.f.Executable(text) {
		return text
	}
	var modules map[uint64]uint64
	if s, ok := t.f.h.section(".go.module"); ok {
		modules = map[uint64]uint64{s.Addr: table}
	} else {
		modules = t.f.PointersTo(map[uint64]bool{table: true})
	}
	first, _ := t.f.Word(t.functab, 4)
	for m := range modules {
		minPC, _ := t.f.PointerAt(m + moduledataMinPC)
		text, _ := t.f.PointerAt(m + moduledataText)
		if t.f.Executable(text) && text+first == minPC {
			return text
		}
	}
	if text := t.textFromEntry(); text != 0 {
		return text
	}
	s, _ := t.f.h.section(".text")
	return s.Addr
}

// textFromEntry returns the base that puts _rt0_GOARCH_linux at the entry point, or 0.
func (t *pclntab) textFromEntry() uint64 {
	for i := range t.functionCount {
		if b := t.f.Bytes(t.nameAddr(i), 5); string(b) == "_rt0_" && strings.HasSuffix(t.f.String(t.nameAddr(i)), "_linux") {
			return t.f.h.entry - t.start(i)
		}
	}
	return 0
}

func (t *pclntab) nameAddr(i int) uint64 {
	off, _ := t.f.Word(t.functab+uint64(i)*2*t.fieldSize+t.fieldSize, int(t.fieldSize))
	name, _ := t.f.Word(t.funcdata+off+t.fieldSize, 4)
	return t.funcnametab + name
}

func (t *pclntab) start(i int) uint64 {
	v, _ := t.f.Word(t.functab+uint64(i)*2*t.fieldSize, int(t.fieldSize))
	return t.text + v
}

// find returns the bounds and the name of the function that contains addr. t may be nil.
func (t *pclntab) find(addr uint64) (s Span, name string) {
	if t == nil {
		return Span{}, ""
	}
	i := sort.Search(t.functionCount, func(i int) bool { return t.start(i) > addr }) - 1
	if i >= 0 {
		s = Span{t.start(i), t.start(i + 1)}
	}
	if !s.Holds(addr) {
		return Span{}, ""
	}
	return s, t.f.String(t.nameAddr(i))
}
