package elffile

import (
	"debug/elf"
	"encoding/binary"
)

const maxSymbolicRelocations = 1 << 16

// dynamic is what the dynamic section says.
type dynamic struct {
	tags    map[elf.DynTag]uint64
	needed  []string
	soname  string
	symbols symbolTable
	got     GOT
	// pointers are slots that the loader fills with the address of a symbol
	// defined in this file.
	pointers map[uint64]uint64
	// relative are the tables of relative relocations, for pointerAt.
	relative []relocationTable
}

// GOT are the GOT slots that the loader fills, by address.
type GOT struct {
	// Imports are the wanted functions of other files.
	Imports map[uint64]string
	// EagerlyBound are the slots of Imports that are filled before the program
	// runs (GLOB_DAT), so that code may load them; the others are for PLT entries
	// alone.
	EagerlyBound map[uint64]bool
	// LocalPLT are the functions of this file that are called through a PLT entry.
	LocalPLT map[uint64]uint64
	// TLS are the slots for thread-local variables of this file.
	TLS map[uint64]TLSSlot
}

// relocationTable is a run of relocations with addends.
type relocationTable struct {
	off    uint64
	count  int
	first  int // of the sorted run of relative ones
	run    int // its length
	sorted bool
}

// readDynamic reads the dynamic section of a 64-bit little-endian file, and of
// others the names of libraries and the symbols.
func readDynamic(f *File, wanted func(string) bool) dynamic {
	c, m, limits := f.c, f.mem, f.Limits
	d := dynamic{
		tags: map[elf.DynTag]uint64{}, pointers: map[uint64]uint64{},
		got: GOT{Imports: map[uint64]string{}, EagerlyBound: map[uint64]bool{}, LocalPLT: map[uint64]uint64{}, TLS: map[uint64]TLSSlot{}},
	}
	var needed []uint64
	for _, s := range c.segments {
		if s.kind != elf.PT_DYNAMIC {
			continue
		}
		entsize := uint64(2 * m.pointerSize())
		count := int(min(s.filesz/entsize, maxDynamic))
		_ = c.each(s.off, entsize, count, func(_ int, e []byte) bool {
			var tag elf.DynTag
			var value uint64
			if c.bits == 64 {
				tag, value = elf.DynTag(c.order.Uint64(e)), c.order.Uint64(e[8:])
			} else {
				tag, value = elf.DynTag(c.order.Uint32(e)), uint64(c.order.Uint32(e[4:]))
			}
			switch tag {
			case elf.DT_NULL:
				return false
			case elf.DT_NEEDED:
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
	strings := d.tags[elf.DT_STRTAB]
	for _, n := range needed {
		if name := m.cString(strings + n); name != "" {
			d.needed = append(d.needed, name)
		}
	}
	if off := d.tags[elf.DT_SONAME]; off != 0 {
		d.soname = m.cString(strings + off)
	}
	d.symbols = dynamicSymbols(c, m, d.tags, limits)
	if f.Machine != nil {
		d.readRelocations(f, wanted)
	}
	return d
}

func (d *dynamic) readRelocations(f *File, wanted func(string) bool) {
	c, m := f.c, f.mem
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
			if name := d.symbols.name(m, s); !s.defined && wanted(name) {
				v.name = name
			}
		}
		known[index] = v
		return v
	}
	kinds := f.Machine.Relocations
	for _, tags := range [][2]elf.DynTag{{elf.DT_RELA, elf.DT_RELASZ}, {elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		off, room := m.inFile(d.tags[tags[0]])
		size := min(d.tags[tags[1]], room)
		count := int(min(size/24, uint64(f.Limits.Relocations)))
		if count == 0 {
			continue
		}
		t := relocationTable{off: off, count: count, first: -1, sorted: true}
		var previous uint64
		_ = c.each(off, 24, count, func(i int, e []byte) bool {
			place, info, addend := binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:]), binary.LittleEndian.Uint64(e[16:])
			switch kind := uint32(info); kind {
			case kinds.Relative:
				if t.first < 0 {
					t.first = i
				}
				if i != t.first+t.run || place < previous {
					t.sorted = false
				}
				previous = place
				t.run++
			case kinds.TLSModuleOffset, kinds.TLSOffset, kinds.TLSDesc:
				index := uint32(info >> 32)
				if v := lookup(index); (v.ok || index == 0) && len(d.got.TLS) < maxSymbolicRelocations {
					d.got.TLS[place] = TLSSlot{int64(v.addr + addend), kind == kinds.TLSDesc}
				}
			case kinds.IRelative, kinds.Absolute, kinds.GlobDat, kinds.JumpSlot:
				v := lookup(uint32(info >> 32))
				if v.name != "" {
					d.got.Imports[place] = v.name
					d.got.EagerlyBound[place] = kind != kinds.JumpSlot
				} else if v.ok && len(d.pointers) < maxSymbolicRelocations {
					d.pointers[place] = v.addr + addend
					if kind == kinds.JumpSlot {
						d.got.LocalPLT[place] = v.addr
					}
				}
			}
			return true
		})
		d.relative = append(d.relative, t)
	}
}
