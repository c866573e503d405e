package elffile

import (
	"debug/elf"
	"encoding/binary"
)

const (
	maxSymbolicRelocations = 1 << 16
	rela64Size             = 24 // of an elf.Rela64, in bytes
)

// dynamic holds the contents of the dynamic section.
type dynamic struct {
	tags    map[elf.DynTag]uint64
	needed  []string
	soname  string
	symbols symbolTable
	GOT     GOT
	// pointers maps the address of a pointer to its value. Only relocations against
	// symbols of this file are listed.
	pointers map[uint64]uint64
	// relative are the relocation tables that may hold relative relocations.
	relative []relocationTable
}

// GOT holds the GOT slots that the dynamic loader fills, by address.
type GOT struct {
	// Imports are the names of imported functions.
	Imports map[uint64]string
	// EagerlyBound are the slots of Imports that the loader fills before the program
	// starts (GLOB_DAT), so that code may load them. Only PLT entries use the others.
	EagerlyBound map[uint64]bool
	// LocalPLT are the addresses of functions of this file that have a PLT entry.
	LocalPLT map[uint64]uint64
	// TLS are the slots for thread-local variables of this file.
	TLS map[uint64]TLSSlot
}

// relocationTable is a table of elf.Rela64.
type relocationTable struct {
	addr, off uint64
	count     int
	// first and run are the index and length of the run of relative relocations.
	// sorted reports whether the table has only one run, in address order.
	first, run int
	sorted     bool
}

func decodeRela(e []byte) elf.Rela64 {
	return elf.Rela64{
		Off: binary.LittleEndian.Uint64(e), Info: binary.LittleEndian.Uint64(e[8:]), Addend: int64(binary.LittleEndian.Uint64(e[16:])),
	}
}

// readDynamic reads the dynamic section. It reads relocations only if the machine is
// supported. imported selects the functions of GOT.Imports.
func readDynamic(f *File, imported func(string) bool) dynamic {
	h, m := f.h, f.memory
	d := dynamic{
		tags: map[elf.DynTag]uint64{}, pointers: map[uint64]uint64{},
		GOT: GOT{Imports: map[uint64]string{}, EagerlyBound: map[uint64]bool{}, LocalPLT: map[uint64]uint64{}, TLS: map[uint64]TLSSlot{}},
	}
	var needed []uint64
	for _, s := range h.segments {
		if s.Type != elf.PT_DYNAMIC {
			continue
		}
		entsize := uint64(2 * m.pointerSize())
		count := int(min(s.Filesz/entsize, maxDynamic))
		_ = h.eachEntry(s.Off, entsize, count, func(_ int, e []byte) bool {
			var tag elf.DynTag
			var value uint64
			if h.bits == 64 {
				tag, value = elf.DynTag(h.order.Uint64(e)), h.order.Uint64(e[8:])
			} else {
				tag, value = elf.DynTag(h.order.Uint32(e)), uint64(h.order.Uint32(e[4:]))
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
	strtab := d.tags[elf.DT_STRTAB]
	for _, n := range needed {
		if name := m.String(strtab + n); name != "" {
			d.needed = append(d.needed, name)
		}
	}
	if off := d.tags[elf.DT_SONAME]; off != 0 {
		d.soname = m.String(strtab + off)
	}
	d.symbols = dynamicSymbols(h, m, d.tags, f.Limits)
	if f.Machine != nil {
		d.readRelocations(f, imported)
	}
	return d
}

func (d *dynamic) readRelocations(f *File, imported func(string) bool) {
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
		if s, ok := d.symbols.at(f.h, int(index)); ok && index != 0 {
			v = resolved{addr: s.addr, ok: s.defined}
			if name := d.symbols.name(f.memory, s); !s.defined && imported(name) {
				v.name = name
			}
		}
		known[index] = v
		return v
	}
	types := f.Machine.Relocations
	for _, tags := range [][2]elf.DynTag{{elf.DT_RELA, elf.DT_RELASZ}, {elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		addr, size := d.tags[tags[0]], d.tags[tags[1]]
		off, avail := f.InFile(addr)
		count := int(min(size/rela64Size, avail/rela64Size, uint64(f.Limits.Relocations)))
		if count == 0 {
			continue
		}
		t := relocationTable{addr: addr, off: off, count: count, first: -1, sorted: true}
		var previous uint64
		_ = f.h.eachEntry(off, rela64Size, count, func(i int, e []byte) bool {
			r := decodeRela(e)
			addr, index, addend := r.Off, elf.R_SYM64(r.Info), uint64(r.Addend)
			switch typ := elf.R_TYPE64(r.Info); typ {
			case types.Relative:
				if t.first < 0 {
					t.first = i
				}
				if i != t.first+t.run || addr < previous {
					t.sorted = false
				}
				previous = addr
				t.run++
			case types.TLSModuleOffset, types.TLSOffset, types.TLSDesc:
				if v := lookup(index); (v.ok || index == 0) && len(d.GOT.TLS) < maxSymbolicRelocations {
					d.GOT.TLS[addr] = TLSSlot{int64(v.addr + addend), typ == types.TLSDesc}
				}
			case types.IRelative, types.Absolute, types.GlobDat, types.JumpSlot:
				v := lookup(index)
				if v.name != "" {
					d.GOT.Imports[addr] = v.name
					d.GOT.EagerlyBound[addr] = typ != types.JumpSlot
				} else if v.ok && len(d.pointers) < maxSymbolicRelocations {
					d.pointers[addr] = v.addr + addend
					if typ == types.JumpSlot {
						d.GOT.LocalPLT[addr] = v.addr
					}
				}
			}
			return true
		})
		d.relative = append(d.relative, t)
	}
}
