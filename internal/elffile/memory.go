package elffile

import (
	"debug/elf"
	"math"
	"slices"
)

// memory is the memory image of the file (PT_LOAD), read through a cache of blocks.
type memory struct {
	h      *headers
	loads  []Segment // do not overlap
	blocks map[uint64][]byte
	order  []uint64 // keys of blocks, oldest first
	// lastKey and last are the block of the last access.
	lastKey uint64
	last    []byte
	scratch [64]byte
}

func newMemory(h *headers) *memory {
	m := &memory{h: h, blocks: make(map[uint64][]byte), lastKey: ^uint64(0)}
	for _, s := range h.segments {
		if s.Type == elf.PT_LOAD && s.Memsz > 0 {
			m.load(s)
		}
	}
	return m
}

// load maps a segment as the kernel does: whole pages, over any earlier ones.
func (m *memory) load(s Segment) {
	s = m.wholePages(s)
	end := s.Vaddr + s.Memsz
	if !slices.ContainsFunc(m.loads, func(p Segment) bool { return p.Vaddr < end && s.Vaddr < p.Vaddr+p.Memsz }) {
		m.loads = append(m.loads, s)
		return
	}
	var kept []Segment
	for _, p := range m.loads {
		if before := p.part(0, s.Vaddr-min(s.Vaddr, p.Vaddr)); before.Memsz > 0 {
			kept = append(kept, before)
		}
		if after := p.part(end-min(end, p.Vaddr), p.Memsz); after.Memsz > 0 {
			kept = append(kept, after)
		}
	}
	m.loads = append(kept, s)
}

// pageSize is the smallest of the machines, in bytes.
const pageSize = 4 << 10

// wholePages extends a segment to its pages. They hold more of the file, but zeros behind
// initialized data. No kernel maps a segment with an address and an offset that differ
// within the page: it stays as it is.
func (m *memory) wholePages(s Segment) Segment {
	lead := s.Vaddr % pageSize
	if s.Filesz == 0 || s.Off%pageSize != lead || s.Vaddr+s.Memsz > math.MaxUint64-pageSize {
		return s
	}
	roundUp := func(n uint64) uint64 { return (n + pageSize - 1) &^ (pageSize - 1) }
	s.Off, s.Vaddr, s.Filesz, s.Memsz = s.Off-lead, s.Vaddr-lead, s.Filesz+lead, s.Memsz+lead
	if s.Filesz == s.Memsz || !s.Writable {
		s.Filesz = min(roundUp(s.Filesz), m.h.size-s.Off)
	}
	s.Memsz = max(roundUp(s.Memsz), s.Filesz)
	return s
}

// part returns the part of a loaded segment between two distances from its start.
func (s Segment) part(from, to uint64) Segment {
	from, to = min(from, s.Memsz), min(to, s.Memsz)
	if from >= to {
		return Segment{}
	}
	s.Filesz = min(s.Filesz, to) - min(s.Filesz, from)
	s.Off, s.Vaddr, s.Memsz = s.Off+from, s.Vaddr+from, to-from
	return s
}

// SegmentOf returns the loaded segment that contains addr, or nil.
func (m *memory) SegmentOf(addr uint64) *Segment {
	for i := range m.loads {
		if s := &m.loads[i]; addr >= s.Vaddr && addr-s.Vaddr < s.Memsz {
			return s
		}
	}
	return nil
}

// InFile returns the file offset of addr and the number of bytes in the file from
// there to the end of the segment. n is 0 if the file has no byte for addr.
func (m *memory) InFile(addr uint64) (off, n uint64) {
	s := m.SegmentOf(addr)
	if s == nil || addr-s.Vaddr >= s.Filesz {
		return 0, 0
	}
	d := addr - s.Vaddr
	return s.Off + d, s.Filesz - d
}

// Executable reports whether addr lies in an executable segment.
func (m *memory) Executable(addr uint64) bool {
	s := m.SegmentOf(addr)
	return s != nil && s.Executable
}

// Bytes returns up to n bytes at the virtual address addr, fewer at the end of a
// segment. n is at most blockSize (32 KiB). The slice is valid until the next call.
func (m *memory) Bytes(addr uint64, n int) []byte {
	off, avail := m.InFile(addr)
	n = int(min(uint64(n), avail))
	if n == 0 {
		return nil
	}
	in := int(off % blockSize)
	b := m.block(off / blockSize)
	if in >= len(b) {
		return nil
	}
	if in+n <= len(b) {
		return b[in : in+n]
	}
	joined := m.scratch[:0]
	if n > len(m.scratch) {
		joined = make([]byte, 0, n)
	}
	joined = append(joined, b[in:]...)
	next := m.block(off/blockSize + 1)
	return append(joined, next[:min(len(next), n-len(joined))]...)
}

// block returns block number key of the file. It is empty after a read error.
func (m *memory) block(key uint64) []byte {
	if key == m.lastKey {
		return m.last
	}
	b, ok := m.blocks[key]
	if !ok {
		var buf []byte
		if len(m.order) >= maxBlocks {
			buf = m.blocks[m.order[0]]
			delete(m.blocks, m.order[0])
			m.order = m.order[1:]
		}
		if cap(buf) < blockSize {
			buf = make([]byte, blockSize)
		}
		start := key * blockSize
		b = buf[:min(blockSize, m.h.size-min(start, m.h.size))]
		if readFull(m.h.r, b, int64(start)) != nil {
			b = b[:0]
		}
		m.blocks[key] = b
		m.order = append(m.order, key)
	}
	m.lastKey, m.last = key, b
	return b
}

// Word reads width bytes (1, 2, 4 or 8) at addr in the file's byte order.
func (m *memory) Word(addr uint64, width int) (uint64, bool) {
	b := m.Bytes(addr, width)
	if len(b) < width {
		return 0, false
	}
	switch width {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(m.h.order.Uint16(b)), true
	case 4:
		return uint64(m.h.order.Uint32(b)), true
	case 8:
		return m.h.order.Uint64(b), true
	}
	return 0, false
}

// String returns the zero-terminated string at addr.
func (m *memory) String(addr uint64) string { return cString(m.Bytes(addr, maxName)) }

// pointerSize is in bytes.
func (m *memory) pointerSize() int { return m.h.bits / 8 }
