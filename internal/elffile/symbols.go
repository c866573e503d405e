package elffile

import (
	"debug/elf"
	"math"
	"slices"
)

// symbolTable is the location of a symbol table and its string table.
type symbolTable struct {
	off     uint64
	count   int
	entsize uint64
	// maxCount is the number of entries up to the end of the segment. The symbol
	// index of a relocation may exceed count, which may come from a hash table.
	maxCount uint64
	// The string table is at a virtual address (.dynsym) or a file offset (.symtab).
	namesAddr, namesOff, namesSize uint64
}

type symbol struct {
	nameOffset uint32
	addr, size uint64
	defined    bool
	function   bool
	named      bool // a defined function or object with an address
	local      bool // bound within the file
}

// decodeSymbol decodes an elf.Sym64 or elf.Sym32.
func decodeSymbol(h *headers, e []byte) symbol {
	var s symbol
	var info, other byte
	var shndx uint16
	s.nameOffset = h.order.Uint32(e)
	if h.bits == 64 {
		info, other, shndx = e[4], e[5], h.order.Uint16(e[6:])
		s.addr, s.size = h.order.Uint64(e[8:]), h.order.Uint64(e[16:])
	} else {
		s.addr, s.size = uint64(h.order.Uint32(e[4:])), uint64(h.order.Uint32(e[8:]))
		info, other, shndx = e[12], e[13], h.order.Uint16(e[14:])
	}
	kind := elf.ST_TYPE(info)
	s.local = elf.ST_BIND(info) == elf.STB_LOCAL || elf.ST_VISIBILITY(other) == elf.STV_HIDDEN || elf.ST_VISIBILITY(other) == elf.STV_INTERNAL
	s.defined = elf.SectionIndex(shndx) != elf.SHN_UNDEF
	s.function = kind == elf.STT_FUNC || kind == elf.STT_GNU_IFUNC
	s.named = s.defined && s.addr != 0 && (s.function || kind == elf.STT_OBJECT)
	return s
}

func (h *headers) symbolSize() uint64 { return uint64(h.entsize(elf.Sym32{}, elf.Sym64{})) }

// dynamicSymbols returns .dynsym. The number of symbols is the largest of the section headers and
// hash tables, or comes from the address of the string table after it. The loaders read none of
// them, nor DT_STRSZ.
func dynamicSymbols(f *File, tags map[elf.DynTag]uint64) symbolTable {
	h, m, limits := f.h, f.memory, f.Limits
	t := symbolTable{entsize: h.symbolSize(), namesAddr: tags[elf.DT_STRTAB], namesSize: math.MaxUint64}
	var avail uint64
	t.off, avail = m.InFile(tags[elf.DT_SYMTAB])
	count := uint64(0)
	for _, s := range h.sections {
		if s.Type == elf.SHT_DYNSYM && s.Addr == tags[elf.DT_SYMTAB] {
			count = s.Size / t.entsize
		}
	}
	if hash := tags[elf.DT_HASH]; hash != 0 {
		n, _ := m.Word(hash+4, 4)
		count = max(count, n)
	}
	if hash := tags[elf.DT_GNU_HASH]; hash != 0 {
		count = max(count, gnuHashCount(m, hash, limits))
	}
	if names, first := tags[elf.DT_STRTAB], tags[elf.DT_SYMTAB]; count == 0 && names > first {
		count = (names - first) / t.entsize
	}
	if t.maxCount = min(avail/t.entsize, uint64(limits.Symbols)); count > uint64(limits.Symbols) {
		f.leave("of %d symbols %d were read", count, limits.Symbols)
	}
	t.count = int(min(count, t.maxCount))
	return t
}

// gnuHashCount returns the highest symbol index in the GNU hash table plus one.
func gnuHashCount(m *memory, hash uint64, limits Limits) uint64 {
	buckets, _ := m.Word(hash, 4)
	first, _ := m.Word(hash+4, 4)
	words, _ := m.Word(hash+8, 4)
	if buckets > uint64(limits.Symbols) || words > uint64(limits.Symbols) {
		return 0
	}
	table := hash + 16 + words*uint64(m.pointerSize())
	last := uint64(0)
	for i := range buckets {
		v, ok := m.Word(table+4*i, 4)
		if !ok {
			return 0
		}
		last = max(last, v)
	}
	if last < first {
		return first
	}
	for n := 0; n < limits.Symbols; n++ {
		v, ok := m.Word(table+4*buckets+4*(last-first), 4)
		if !ok {
			return 0
		}
		last++
		if v&1 != 0 {
			return last
		}
	}
	return 0
}

// staticSymbols returns .symtab. ok is false in a stripped file.
func staticSymbols(h *headers, limits Limits) (t symbolTable, ok bool) {
	for _, s := range h.sections {
		if s.Type != elf.SHT_SYMTAB || s.Size == 0 {
			continue
		}
		t = symbolTable{off: s.Offset, entsize: h.symbolSize()}
		t.count = int(min(s.Size/t.entsize, uint64(limits.Symbols)))
		if int(s.Link) < len(h.sections) {
			names := h.sections[s.Link]
			t.namesOff, t.namesSize = names.Offset, names.Size
		}
		return t, true
	}
	return symbolTable{}, false
}

func (t symbolTable) each(h *headers, f func(i int, s symbol) bool) {
	_ = h.eachEntry(t.off, t.entsize, t.count, func(i int, e []byte) bool { return f(i, decodeSymbol(h, e)) })
}

func (t symbolTable) at(h *headers, i int) (symbol, bool) {
	if i < 0 || uint64(i) >= max(t.maxCount, uint64(t.count)) {
		return symbol{}, false
	}
	e, err := h.readRange(t.off+uint64(i)*t.entsize, t.entsize)
	if err != nil {
		return symbol{}, false
	}
	return decodeSymbol(h, e), true
}

// nameBytes returns up to n bytes of the string table, from the symbol's name on.
func (t symbolTable) nameBytes(m *memory, s symbol, n int) []byte {
	if uint64(s.nameOffset) >= t.namesSize {
		return nil
	}
	if t.namesAddr != 0 {
		return m.Bytes(t.namesAddr+uint64(s.nameOffset), n)
	}
	off := t.namesOff + uint64(s.nameOffset)
	b := m.block(off / blockSize)
	in := int(off % blockSize)
	if in+n <= len(b) {
		return b[in : in+n]
	}
	buf := make([]byte, min(uint64(n), t.namesSize-uint64(s.nameOffset)))
	if readFull(m.h.r, buf, int64(off)) != nil {
		return nil
	}
	return buf
}

func (t symbolTable) name(m *memory, s symbol) string { return cString(t.nameBytes(m, s, maxName)) }

// tables returns the symbol tables. The loader's own table comes first.
func (f *File) tables() []symbolTable { return []symbolTable{f.symbols, f.symtab} }

// Symbol is a defined function or object symbol.
type Symbol struct {
	Name string
	// Addr is the virtual address, Size the size in bytes.
	Addr, Size uint64
}

// Symbols returns the defined symbols with the names, by name.
func (f *File) Symbols(names ...string) map[string]Symbol {
	found := map[string]Symbol{}
	longest := longest(names)
	var firsts [256]bool
	for _, n := range names {
		if n != "" {
			firsts[n[0]] = true
		}
	}
	for _, t := range f.tables() {
		t.each(f.h, func(_ int, s symbol) bool {
			if !s.named {
				return true
			}
			b := t.nameBytes(f.memory, s, longest+1)
			if len(b) == 0 || !firsts[b[0]] {
				return true
			}
			if n := oneOf(names, b); n != "" && found[n].Name == "" {
				found[n] = Symbol{Name: n, Addr: s.addr, Size: s.size}
			}
			return len(found) < len(names)
		})
		if len(found) == len(names) {
			break
		}
	}
	return found
}

// oneOf returns the name whose zero-terminated string starts b, or "".
func oneOf(names []string, b []byte) string {
	for _, n := range names {
		if len(b) > len(n) && b[len(n)] == 0 && string(b[:len(n)]) == n {
			return n
		}
	}
	return ""
}

func longest[T ~string | ~[]byte](all []T) (n int) {
	for _, s := range all {
		n = max(n, len(s))
	}
	return n
}

// DynamicFunctions calls visit with the address of each exported function.
func (f *File) DynamicFunctions(visit func(addr uint64)) {
	f.symbols.each(f.h, func(_ int, s symbol) bool {
		if s.defined && s.function {
			visit(s.addr)
		}
		return true
	})
}

// NamesOf returns the names of the symbols around the addresses, by address.
func (f *File) NamesOf(addrs []uint64) map[uint64]string {
	names := map[uint64]string{}
	if len(addrs) == 0 {
		return names
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(addrs)))
	last := sorted[len(sorted)-1]
	for _, t := range f.tables() {
		t.each(f.h, func(_ int, s symbol) bool {
			if s.addr > last || !s.named {
				return true
			}
			i, _ := slices.BinarySearch(sorted, s.addr)
			for ; i < len(sorted) && sorted[i]-s.addr < max(s.size, 1) && f.Spend(1); i++ {
				if names[sorted[i]] != "" {
					continue
				}
				if name := t.name(f.memory, s); name != "" && name[0] != '$' {
					names[sorted[i]] = name
				}
			}
			return true
		})
	}
	return names
}

// FunctionSymbols returns the function symbol at each of the sorted addresses, or a zero Span.
func (f *File) FunctionSymbols(addrs []uint64) []Span {
	out := make([]Span, len(addrs))
	for _, t := range f.tables() {
		t.each(f.h, func(_ int, s symbol) bool {
			if !s.defined || !s.function || s.size == 0 || s.addr+s.size < s.addr {
				return true
			}
			i, _ := slices.BinarySearch(addrs, s.addr)
			for ; i < len(addrs) && addrs[i]-s.addr < s.size && f.Spend(1); i++ {
				out[i] = Span{s.addr, s.addr + s.size}
			}
			return true
		})
	}
	return out
}
