package elffile

import (
	"debug/elf"
	"encoding/binary"
	"sort"
)

// PointerAt returns the value that the loader leaves in the eight bytes at
// addr, relative to the file's own addresses.
func (f *File) PointerAt(addr uint64) (uint64, bool) {
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
					return binary.LittleEndian.Uint64(block[off%blockSize:])
				}
			}
			if readFull(f.c.r, b[:], int64(off)) != nil {
				return 0
			}
			return binary.LittleEndian.Uint64(b[:])
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
	if !f.Spend(min(t.count, maxUnsortedRelocations)) {
		return 0, false
	}
	kind := f.Machine.Relocations.Relative
	_ = f.c.each(t.off, 24, min(t.count, maxUnsortedRelocations), func(_ int, e []byte) bool {
		if binary.LittleEndian.Uint64(e) == addr && uint32(binary.LittleEndian.Uint64(e[8:])) == kind {
			value, found = binary.LittleEndian.Uint64(e[16:]), true
		}
		return !found
	})
	return value, found
}

// PointersTo returns the slots in data that hold one of the addresses once
// loaded, each with the address: code may reach it through them.
func (f *File) PointersTo(wanted map[uint64]bool) map[uint64]uint64 {
	found := map[uint64]uint64{}
	if len(wanted) == 0 {
		return nil
	}
	for place, v := range f.dyn.pointers {
		if wanted[v] {
			found[place] = v
		}
	}
	for _, t := range f.dyn.relative {
		kind := f.Machine.Relocations.Relative
		_ = f.c.each(t.off, 24, t.count, func(_ int, e []byte) bool {
			if v := binary.LittleEndian.Uint64(e[16:]); wanted[v] && uint32(binary.LittleEndian.Uint64(e[8:])) == kind {
				found[binary.LittleEndian.Uint64(e)] = v
			}
			return len(found) < maxPointers
		})
	}
	if f.c.kind == elf.ET_EXEC || f.dyn.tags[dtRelr] != 0 {
		// Addresses stand in the data as they are.
		lowest, highest := ^uint64(0), uint64(0)
		for w := range wanted {
			lowest, highest = min(lowest, w), max(highest, w)
		}
		f.SearchData(8, func(addr uint64, b []byte) bool {
			for i := int(-addr & 7); i+8 <= len(b); i += 8 {
				if v := binary.LittleEndian.Uint64(b[i:]); v-lowest <= highest-lowest && wanted[v] {
					found[addr+uint64(i)] = v
				}
			}
			return len(found) < maxPointers
		})
	}
	return found
}

const (
	dtRelr      = elf.DynTag(36) // DT_RELR (gABI)
	maxPointers = 1 << 10
)
