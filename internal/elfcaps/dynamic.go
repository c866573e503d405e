package elfcaps

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
	// own are the slots of linkage stubs for functions of this file, which another
	// may take the place of.
	own map[uint64]uint64
	// pointers are slots that the loader fills with the address of a symbol
	// defined in this file.
	pointers map[uint64]uint64
	// threads are slots for thread-local data of this file.
	threads map[uint64]threadSlot
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
type relocationKinds struct {
	absolute, globDat, jumpSlot, relative, irelative uint32
	// An offset within the file's thread-local data, one from the thread
	// pointer, and a descriptor.
	threadBlock, threadPointer, threadDescriptor uint32
}

func kindsOf(machine string) relocationKinds {
	if machine == "arm64" {
		return relocationKinds{257, 1025, 1026, 1027, 1032, 1029, 1030, 1031}
	}
	return relocationKinds{1, 6, 7, 8, 37, 17, 18, 36}
}

// readDynamic reads the dynamic section of a 64-bit little-endian file, and of
// others the names of libraries and the symbols.
func readDynamic(c *container, m *memory, limits Limits) dynamic {
	d := dynamic{tags: map[uint64]uint64{}, imports: map[uint64]string{}, loadable: map[uint64]bool{}, pointers: map[uint64]uint64{}, threads: map[uint64]threadSlot{}, own: map[uint64]uint64{}}
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
			case kinds.threadBlock, kinds.threadPointer, kinds.threadDescriptor:
				index := uint32(info >> 32)
				if v := lookup(index); (v.ok || index == 0) && len(d.threads) < maxSymbolicRelocations {
					d.threads[place] = threadSlot{int64(v.addr + addend), kind == kinds.threadDescriptor}
				}
			case kinds.irelative, kinds.absolute, kinds.globDat, kinds.jumpSlot:
				v := lookup(uint32(info >> 32))
				if v.name != "" {
					d.imports[place] = v.name
					d.loadable[place] = kind != kinds.jumpSlot
				} else if v.ok && len(d.pointers) < maxSymbolicRelocations {
					d.pointers[place] = v.addr + addend
					if kind == kinds.jumpSlot {
						d.own[place] = v.addr
					}
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
	case "syscall", "capget", "capset", "dlsym", threadAddress,
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
