package elffile

import (
	"debug/elf"
	"maps"
	"slices"
)

// symbolTable is one table of symbols and where its names are.
type symbolTable struct {
	off     uint64
	count   int
	entsize uint64
	// room is how many entries could follow off within its segment: an index
	// of a relocation may lie beyond what the hash table counts.
	room uint64
	// Names lie at a virtual address (.dynsym) or at a file offset (.symtab).
	namesAddr, namesOff, namesSize uint64
}

// symbol is one entry of a symbol table.
type symbol struct {
	nameOffset uint32
	addr, size uint64
	defined    bool
	function   bool
	object     bool
}

func decodeSymbol(c *container, e []byte) symbol {
	var s symbol
	var info byte
	var shndx uint16
	s.nameOffset = c.order.Uint32(e)
	if c.bits == 64 {
		info, shndx = e[4], c.order.Uint16(e[6:])
		s.addr, s.size = c.order.Uint64(e[8:]), c.order.Uint64(e[16:])
	} else {
		s.addr, s.size = uint64(c.order.Uint32(e[4:])), uint64(c.order.Uint32(e[8:]))
		info, shndx = e[12], c.order.Uint16(e[14:])
	}
	kind := elf.ST_TYPE(info)
	s.defined = elf.SectionIndex(shndx) != elf.SHN_UNDEF
	s.function = kind == elf.STT_FUNC || kind == elf.STT_GNU_IFUNC
	s.object = kind == elf.STT_OBJECT
	return s
}

// dynamicSymbols finds .dynsym without section headers: its length is that of
// the hash table, or ends where the names begin.
func dynamicSymbols(c *container, m *memory, tags map[elf.DynTag]uint64, limits Limits) symbolTable {
	t := symbolTable{entsize: elf.Sym64Size, namesAddr: tags[elf.DT_STRTAB], namesSize: tags[elf.DT_STRSZ]}
	if c.bits == 32 {
		t.entsize = elf.Sym32Size
	}
	var room uint64
	t.off, room = m.inFile(tags[elf.DT_SYMTAB])
	count := uint64(0)
	for _, s := range c.sections {
		if s.kind == elf.SHT_DYNSYM && s.addr == tags[elf.DT_SYMTAB] {
			count = s.size / t.entsize
		}
	}
	if hash := tags[elf.DT_HASH]; count == 0 && hash != 0 {
		count, _ = m.word(hash+4, 4)
	}
	if hash := tags[elf.DT_GNU_HASH]; count == 0 && hash != 0 {
		count = gnuHashCount(m, hash, limits)
	}
	if names, first := tags[elf.DT_STRTAB], tags[elf.DT_SYMTAB]; count == 0 && names > first {
		count = (names - first) / t.entsize
	}
	t.room = min(room/t.entsize, uint64(limits.Symbols))
	t.count = int(min(count, t.room))
	return t
}

// gnuHashCount returns one more than the highest symbol that the GNU hash
// table holds.
func gnuHashCount(m *memory, hash uint64, limits Limits) uint64 {
	buckets, _ := m.word(hash, 4)
	first, _ := m.word(hash+4, 4)
	words, _ := m.word(hash+8, 4)
	if buckets > uint64(limits.Symbols) || words > uint64(limits.Symbols) {
		return 0
	}
	table := hash + 16 + words*uint64(m.pointerSize())
	last := uint64(0)
	for i := range buckets {
		v, ok := m.word(table+4*i, 4)
		if !ok {
			return 0
		}
		last = max(last, v)
	}
	if last < first {
		return first
	}
	for n := 0; n < limits.Symbols; n++ {
		v, ok := m.word(table+4*buckets+4*(last-first), 4)
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

// staticSymbols returns .symtab, which is empty in a stripped file.
func staticSymbols(c *container, limits Limits) (symbolTable, bool) {
	for _, s := range c.sections {
		if s.kind != elf.SHT_SYMTAB || s.size == 0 {
			continue
		}
		t := symbolTable{off: s.off, entsize: elf.Sym64Size}
		if c.bits == 32 {
			t.entsize = elf.Sym32Size
		}
		t.count = int(min(s.size/t.entsize, uint64(limits.Symbols)))
		if int(s.link) < len(c.sections) {
			names := c.sections[s.link]
			t.namesOff, t.namesSize = names.off, names.size
		}
		return t, true
	}
	return symbolTable{}, false
}

func (t symbolTable) each(c *container, f func(i int, s symbol) bool) {
	_ = c.each(t.off, t.entsize, t.count, func(i int, e []byte) bool { return f(i, decodeSymbol(c, e)) })
}

func (t symbolTable) at(c *container, i int) (symbol, bool) {
	if i < 0 || uint64(i) >= max(t.room, uint64(t.count)) {
		return symbol{}, false
	}
	var s symbol
	ok := false
	_ = c.each(t.off+uint64(i)*t.entsize, t.entsize, 1, func(_ int, e []byte) bool {
		s, ok = decodeSymbol(c, e), true
		return false
	})
	return s, ok
}

// nameBytes returns at most n bytes that begin with the symbol's name.
func (t symbolTable) nameBytes(m *memory, s symbol, n int) []byte {
	if uint64(s.nameOffset) >= t.namesSize {
		return nil
	}
	if t.namesAddr != 0 {
		return m.bytes(t.namesAddr+uint64(s.nameOffset), n)
	}
	off := t.namesOff + uint64(s.nameOffset)
	b := m.block(off / blockSize)
	in := int(off % blockSize)
	if in+n <= len(b) {
		return b[in : in+n]
	}
	buf := make([]byte, min(uint64(n), t.namesSize-uint64(s.nameOffset)))
	if readFull(m.c.r, buf, int64(off)) != nil {
		return nil
	}
	return buf
}

func (t symbolTable) name(m *memory, s symbol) string {
	return cString(t.nameBytes(m, s, maxName))
}

// tables are the symbol tables in the order of trust.
func (f *File) tables() []symbolTable { return []symbolTable{f.dyn.symbols, f.symtab} }

// Symbol is a symbol that the file defines.
type Symbol struct {
	Name string
	// Addr is the virtual address, Size in bytes.
	Addr, Size uint64
}

// Symbols returns those of the named symbols that the file defines.
func (f *File) Symbols(names ...string) map[string]Symbol {
	found := map[string]Symbol{}
	longest := 0
	var firsts [256]bool
	for _, n := range names {
		longest = max(longest, len(n))
		if n != "" {
			firsts[n[0]] = true
		}
	}
	for _, t := range f.tables() {
		t.each(f.c, func(_ int, s symbol) bool {
			if !s.defined || s.addr == 0 || !s.function && !s.object {
				return true
			}
			b := t.nameBytes(f.mem, s, longest+1)
			if len(b) == 0 || !firsts[b[0]] {
				return true
			}
			for _, n := range names {
				if len(b) > len(n) && b[len(n)] == 0 && string(b[:len(n)]) == n {
					if _, dup := found[n]; !dup {
						found[n] = Symbol{Name: n, Addr: s.addr, Size: s.size}
					}
				}
			}
			return len(found) < len(names)
		})
		if len(found) == len(names) {
			break
		}
	}
	return found
}

// DynamicFunctions calls visit with the address of each function that the file
// exports.
func (f *File) DynamicFunctions(visit func(addr uint64)) {
	f.dyn.symbols.each(f.c, func(_ int, s symbol) bool {
		if s.defined && s.function {
			visit(s.addr)
		}
		return true
	})
}

// NameOf fills in, for each address, the symbol that covers it.
func (f *File) NameOf(addrs map[uint64]Symbol) {
	if len(addrs) == 0 {
		return
	}
	sorted := slices.Sorted(maps.Keys(addrs))
	last := sorted[len(sorted)-1]
	for _, t := range f.tables() {
		t.each(f.c, func(_ int, s symbol) bool {
			if s.addr > last || s.addr == 0 || !s.defined || !s.function && !s.object {
				return true
			}
			i, _ := slices.BinarySearch(sorted, s.addr)
			for ; i < len(sorted) && sorted[i]-s.addr < max(s.size, 1) && f.Spend(1); i++ {
				if addrs[sorted[i]].Name != "" {
					continue
				}
				if name := t.name(f.mem, s); name != "" && name[0] != '$' {
					addrs[sorted[i]] = Symbol{Name: name, Addr: s.addr, Size: s.size}
				}
			}
			return true
		})
	}
}

// FunctionSymbols returns for each address, in order, the function symbol around it.
func (f *File) FunctionSymbols(addrs []uint64) []Span {
	out := make([]Span, len(addrs))
	for _, t := range f.tables() {
		t.each(f.c, func(_ int, s symbol) bool {
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
