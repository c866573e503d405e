package elffile

import (
	"debug/elf"
	"encoding/binary"
	"math"
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
	m := f.memory
	d := dynamic{
		tags: map[elf.DynTag]uint64{}, pointers: map[uint64]uint64{},
		GOT: GOT{Imports: map[uint64]string{}, EagerlyBound: map[uint64]bool{}, LocalPLT: map[uint64]uint64{}, TLS: map[uint64]TLSSlot{}},
	}
	needed := d.readTags(f)
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
	d.symbols = dynamicSymbols(f, d.tags)
	if f.Machine != nil {
		d.readRelocations(f, imported)
	}
	return d
}

// readTags reads the entries up to DT_NULL, and returns those of DT_NEEDED. As the loaders do, it
// takes the last PT_DYNAMIC, at its address, and of two equal tags the last one (glibc,
// elf/rtld.c and elf/get-dynamic-info.h; musl, ldso/dynlink.c).
func (d *dynamic) readTags(f *File) (needed []uint64) {
	size := uint64(f.pointerSize())
	at := uint64(0)
	for _, s := range f.h.segments {
		if s.Type == elf.PT_DYNAMIC {
			at = s.Vaddr
		}
	}
	for i := uint64(0); at != 0; i++ {
		tag, ok := f.Word(at+2*i*size, int(size))
		value, _ := f.Word(at+(2*i+1)*size, int(size))
		switch {
		case !ok || elf.DynTag(tag) == elf.DT_NULL:
			return needed
		case i >= maxDynamic:
			f.leave("the dynamic section has more than %d entries", maxDynamic)
			return needed
		case elf.DynTag(tag) != elf.DT_NEEDED:
			d.tags[elf.DynTag(tag)] = value
		case len(needed) < maxNeeded:
			needed = append(needed, value)
		default:
			f.leave("more than %d libraries are needed", maxNeeded)
		}
	}
	return needed
}

func (d *dynamic) readRelocations(f *File, imported func(string) bool) {
	type resolved struct {
		name string
		addr uint64
		ok   bool
	}
	known := map[uint32]resolved{}
	hashed := Span{0, math.MaxUint64}
	if hash := d.tags[elf.DT_GNU_HASH]; hash != 0 {
		hashed.Start, _ = f.Word(hash+4, 4)
		hashed.End = gnuHashCount(f.memory, hash, f.Limits)
	}
	lookup := func(index uint32) resolved {
		v, seen := known[index]
		if seen {
			return v
		}
		if s, ok := d.symbols.at(f.h, int(index)); ok && index != 0 {
			v = resolved{addr: s.addr, ok: s.defined}
			// The loader looks a global symbol up by its name, whatever its entry here holds. It
			// finds it in this file only through the hash table.
			elsewhere := !s.defined || !s.local && (!hashed.Holds(uint64(index)) || !f.Executable(s.addr))
			if name := d.symbols.name(f.memory, s); elsewhere && imported(name) {
				v.name = name
			}
		} else if !ok {
			f.leave("relocations name the symbol %d, which was not read", index)
		}
		if len(known) >= maxSymbolicRelocations {
			clear(known)
		}
		known[index] = v
		return v
	}
	if _, ok := d.tags[elf.DT_TEXTREL]; ok || d.tags[elf.DT_FLAGS]&uint64(elf.DF_TEXTREL) != 0 {
		f.leave("the loader changes the code")
	}
	if d.tags[elf.DT_RELSZ] != 0 || d.tags[elf.DT_PLTREL] == uint64(elf.DT_REL) {
		f.leave("relocations without addends are not read")
	}
	full := func(n int) bool {
		if n >= maxSymbolicRelocations {
			f.leave("more than %d relocations name symbols", maxSymbolicRelocations)
		}
		return n >= maxSymbolicRelocations
	}
	types := f.Machine.Relocations
	for _, tags := range [][2]elf.DynTag{{elf.DT_RELA, elf.DT_RELASZ}, {elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		addr, size := d.tags[tags[0]], d.tags[tags[1]]
		off, avail := f.InFile(addr)
		count := int(min(size/rela64Size, avail/rela64Size, uint64(f.Limits.Relocations)))
		if uint64(count) < size/rela64Size {
			f.leave("of %d relocations %d were read", size/rela64Size, count)
		}
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
				if v := lookup(index); (v.ok || index == 0) && !full(len(d.GOT.TLS)) {
					d.GOT.TLS[addr] = TLSSlot{int64(v.addr + addend), typ == types.TLSDesc}
				}
			case types.IRelative, types.Absolute, types.GlobDat, types.JumpSlot:
				v := lookup(index)
				if v.name != "" && !full(len(d.GOT.Imports)) {
					d.GOT.Imports[addr] = v.name
					d.GOT.EagerlyBound[addr] = typ != types.JumpSlot
				} else if v.name == "" && v.ok && !full(len(d.pointers)) {
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
