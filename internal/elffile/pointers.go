package elffile

import (
	"debug/elf"
	"encoding/binary"
	"maps"
	"slices"
	"sort"
)

const (
	dtRelr      = elf.DynTag(36) // DT_RELR (gABI)
	maxPointers = 1 << 10
)

// PointerAt returns the eight bytes at addr after relocation, for a load address of 0.
func (f *File) PointerAt(addr uint64) (uint64, bool) {
	if v, ok := f.pointers[addr]; ok {
		return v, true
	}
	for _, t := range f.relative {
		if !t.sorted {
			if v, ok := f.scanRelative(t, addr); ok {
				return v, true
			}
			continue
		}
		at := func(i int, field uint64) uint64 {
			v, _ := f.Word(t.addr+uint64(t.first+i)*rela64Size+field, 8)
			return v
		}
		i := sort.Search(t.run, func(i int) bool { return at(i, 0) >= addr })
		if i < t.run && at(i, 0) == addr {
			return at(i, 16), true
		}
	}
	return f.Word(addr, 8)
}

// scanRelative searches a table that is not sorted by address.
func (f *File) scanRelative(t relocationTable, addr uint64) (value uint64, found bool) {
	if !f.Spend(t.count) {
		return 0, false
	}
	_ = f.h.eachEntry(t.off, rela64Size, t.count, func(_ int, e []byte) bool {
		if r := decodeRela(e); r.Off == addr && elf.R_TYPE64(r.Info) == f.Machine.Relocations.Relative {
			value, found = uint64(r.Addend), true
		}
		return !found
	})
	return value, found
}

// PointersTo returns the pointers, after relocation, to the targets: their addresses and values.
func (f *File) PointersTo(targets map[uint64]bool) map[uint64]uint64 {
	found := map[uint64]uint64{}
	if len(targets) == 0 {
		return nil
	}
	room := func() bool {
		if len(found) >= maxPointers {
			f.leave("more than %d pointers lead to functions that enter the kernel", maxPointers)
		}
		return len(found) < maxPointers
	}
	for addr, v := range f.pointers {
		if targets[v] {
			found[addr] = v
		}
	}
	for _, t := range f.relative {
		_ = f.h.eachEntry(t.off, rela64Size, t.count, func(_ int, e []byte) bool {
			r := decodeRela(e)
			if v := uint64(r.Addend); targets[v] && elf.R_TYPE64(r.Info) == f.Machine.Relocations.Relative {
				found[r.Off] = v
			}
			return room()
		})
	}
	if f.FixedAddress() || f.tags[dtRelr] != 0 {
		// The data hold the pointers themselves.
		sorted := slices.Sorted(maps.Keys(targets))
		lowest, highest := sorted[0], sorted[len(sorted)-1]
		f.SearchData(8, func(addr uint64, b []byte) bool {
			for i := int(-addr & 7); i+8 <= len(b); i += 8 {
				if v := binary.LittleEndian.Uint64(b[i:]); v-lowest <= highest-lowest && targets[v] {
					found[addr+uint64(i)] = v
				}
			}
			return room()
		})
	}
	return found
}
