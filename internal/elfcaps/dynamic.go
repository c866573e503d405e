package elfcaps

import "sort"

// Tags of the dynamic section that are used here (elf(5), gABI).
const (
	dtNeeded   = 1
	dtPltRelSz = 2
	dtHash     = 4
	dtStrTab   = 5
	dtSymTab   = 6
	dtRela     = 7
	dtRelaSz   = 8
	dtStrSz    = 10
	dtSoname   = 14
	dtJmpRel   = 23
	dtGNUHash  = 0x6ffffef5
	dtFlags1   = 0x6ffffffb

	flag1PIE = 0x08000000
)

const maxSymbolicRelocations = 1 << 16

// dynamic is what the dynamic section says.
type dynamic struct {
	tags    map[uint64]uint64
	needed  []string
	soname  string
	symbols symbolTable
	// imports are the slots that the loader fills with an imported function
	// that matters here.
	imports map[uint64]string
	// loadable are those of them that code may load itself: the others are for
	// linkage stubs alone.
	loadable map[uint64]bool
	// pointers are slots that the loader fills with the address of a symbol
	// defined in this file.
	pointers map[uint64]uint64
	// relative are the tables of relative relocations, for pointerAt.
	relative []relocationTable
}

// relocationTable is a run of relocations with addends.
type relocationTable struct {
	off    uint64
	count  int
	first  int // of the sorted run of relative ones
	run    int // its length
	sorted bool
}

// relocationKinds are the relocation types of one machine.
type relocationKinds struct{ absolute, globDat, jumpSlot, relative, irelative uint32 }

func kindsOf(machine string) relocationKinds {
	if machine == "arm64" {
		return relocationKinds{257, 1025, 1026, 1027, 1032}
	}
	return relocationKinds{1, 6, 7, 8, 37}
}

// readDynamic reads the dynamic section of a 64-bit little-endian file, and of
// others the names of libraries and the symbols.
func readDynamic(c *container, m *memory, limits Limits) dynamic {
	d := dynamic{tags: map[uint64]uint64{}, imports: map[uint64]string{}, loadable: map[uint64]bool{}, pointers: map[uint64]uint64{}}
	var needed []uint64
	for _, s := range c.segments {
		if s.kind != segDynamic {
			continue
		}
		entsize := uint64(2 * m.pointerSize())
		count := int(min(s.filesz/entsize, maxDynamic))
		_ = c.each(s.off, entsize, count, func(_ int, e []byte) bool {
			var tag, value uint64
			if c.bits == 64 {
				tag, value = c.order.Uint64(e), c.order.Uint64(e[8:])
			} else {
				tag, value = uint64(c.order.Uint32(e)), uint64(c.order.Uint32(e[4:]))
			}
			switch tag {
			case 0:
				return false
			case dtNeeded:
				if len(needed) < maxNeeded {
					needed = append(needed, value)
				}
			default:
				d.tags[tag] = value
			}
			return true
		})
		break
	}
	if len(d.tags) == 0 && len(needed) == 0 {
		return d
	}
	strings := d.tags[dtStrTab]
	for _, n := range needed {
		if name := m.cString(strings + n); name != "" {
			d.needed = append(d.needed, name)
		}
	}
	if off := d.tags[dtSoname]; off != 0 {
		d.soname = m.cString(strings + off)
	}
	d.symbols = dynamicSymbols(c, m, d.tags, limits)
	if c.bits == 64 && (c.machine == "arm64" || c.machine == "amd64") {
		d.readRelocations(c, m, limits)
	}
	return d
}

func (d *dynamic) readRelocations(c *container, m *memory, limits Limits) {
	type resolved struct {
		name string
		addr uint64
		ok   bool
	}
	known := map[uint32]resolved{}
	lookup := func(index uint32) resolved {
		v, seen := known[index]
		if seen || len(known) >= maxSymbolicRelocations {
			return v
		}
		if s, ok := d.symbols.at(c, int(index)); ok && index != 0 {
			v = resolved{addr: s.addr, ok: s.defined}
			if name := d.symbols.name(m, s); !s.defined && modelled(name) {
				v.name = name
			}
		}
		known[index] = v
		return v
	}
	kinds := kindsOf(c.machine)
	for _, tags := range [][2]uint64{{dtRela, dtRelaSz}, {dtJmpRel, dtPltRelSz}} {
		off, room := m.inFile(d.tags[tags[0]])
		size := min(d.tags[tags[1]], room)
		count := int(min(size/24, uint64(limits.Relocations)))
		if count == 0 {
			continue
		}
		t := relocationTable{off: off, count: count, first: -1, sorted: true}
		var previous uint64
		_ = c.each(off, 24, count, func(i int, e []byte) bool {
			place, info, addend := le.Uint64(e), le.Uint64(e[8:]), le.Uint64(e[16:])
			switch kind := uint32(info); kind {
			case kinds.relative:
				if t.first < 0 {
					t.first = i
				}
				if i != t.first+t.run || place < previous {
					t.sorted = false
				}
				previous = place
				t.run++
			case kinds.irelative, kinds.absolute, kinds.globDat, kinds.jumpSlot:
				v := lookup(uint32(info >> 32))
				if v.name != "" {
					d.imports[place] = v.name
					d.loadable[place] = kind != kinds.jumpSlot
				} else if v.ok && len(d.pointers) < maxSymbolicRelocations {
					d.pointers[place] = v.addr + addend
				}
			}
			return true
		})
		d.relative = append(d.relative, t)
	}
}

// modelled says that calls of this imported function mean something here.
func modelled(name string) bool {
	switch name {
	case "syscall", "capget", "capset", "dlsym",
		"memcpy", "memmove", "mempcpy", "memset", "bzero", "__memcpy_chk", "__memset_chk", "__memmove_chk":
		return true
	}
	return neverReturns(name)
}

// neverReturns says that the C library's function of that name ends the program
// or goes on elsewhere.
func neverReturns(name string) bool {
	switch name {
	case "abort", "exit", "_exit", "_Exit", "quick_exit", "longjmp", "_longjmp", "siglongjmp", "__longjmp_chk",
		"__stack_chk_fail", "__assert_fail", "__chk_fail", "err", "errx", "verr", "verrx",
		"_Unwind_Resume", "__cxa_throw", "__cxa_rethrow":
		return true
	}
	return false
}

// pointerAt returns the value that the loader leaves in the eight bytes at
// addr, relative to the file's own addresses.
func (f *File) pointerAt(addr uint64) (uint64, bool) {
	if v, ok := f.dyn.pointers[addr]; ok {
		return v, true
	}
	for _, t := range f.dyn.relative {
		if t.run == 0 {
			continue
		}
		if !t.sorted {
			if v, ok := f.scanRelative(t, addr); ok {
				return v, true
			}
			continue
		}
		at := func(i int, field uint64) uint64 {
			var b [8]byte
			off := t.off + uint64(t.first+i)*24 + field
			if key := off / blockSize; off%blockSize <= blockSize-8 {
				if block := f.mem.block(key); off%blockSize+8 <= uint64(len(block)) {
					return le.Uint64(block[off%blockSize:])
				}
			}
			if readFull(f.c.r, b[:], int64(off)) != nil {
				return 0
			}
			return le.Uint64(b[:])
		}
		i := sort.Search(t.run, func(i int) bool { return at(i, 0) >= addr })
		if i < t.run && at(i, 0) == addr {
			return at(i, 16), true
		}
	}
	return f.mem.word(addr, 8)
}

const maxUnsortedRelocations = 1 << 12

func (f *File) scanRelative(t relocationTable, addr uint64) (value uint64, found bool) {
	if !f.spend(min(t.count, maxUnsortedRelocations)) {
		return 0, false
	}
	kind := kindsOf(f.c.machine).relative
	_ = f.c.each(t.off, 24, min(t.count, maxUnsortedRelocations), func(_ int, e []byte) bool {
		if le.Uint64(e) == addr && uint32(le.Uint64(e[8:])) == kind {
			value, found = le.Uint64(e[16:]), true
		}
		return !found
	})
	return value, found
}

// pointersTo returns the slots in data that hold one of the addresses once
// loaded, each with the address: code may reach it through them.
func (f *File) pointersTo(wanted map[uint64]bool) map[uint64]uint64 {
	found := map[uint64]uint64{}
	if len(wanted) == 0 {
		return nil
	}
	for place, v := range f.dyn.pointers {
		if wanted[v] {
			found[place] = v
		}
	}
	kind := kindsOf(f.c.machine).relative
	for _, t := range f.dyn.relative {
		_ = f.c.each(t.off, 24, t.count, func(_ int, e []byte) bool {
			if v := le.Uint64(e[16:]); wanted[v] && uint32(le.Uint64(e[8:])) == kind {
				found[le.Uint64(e)] = v
			}
			return len(found) < maxPointers
		})
	}
	if f.c.kind == typeExec || f.dyn.tags[dtRelr] != 0 {
		// Addresses stand in the data as they are.
		lowest, highest := ^uint64(0), uint64(0)
		for w := range wanted {
			lowest, highest = min(lowest, w), max(highest, w)
		}
		f.SearchData(8, func(addr uint64, b []byte) bool {
			for i := int(-addr & 7); i+8 <= len(b); i += 8 {
				if v := le.Uint64(b[i:]); v-lowest <= highest-lowest && wanted[v] {
					found[addr+uint64(i)] = v
				}
			}
			return len(found) < maxPointers
		})
	}
	return found
}

const (
	dtRelr      = 36
	maxPointers = 1 << 10
)
