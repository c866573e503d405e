package elffile

import "debug/elf"

// memory is the file as the loader maps it, read through a small cache of
// blocks so that looking at a few places of a huge file stays cheap.
type memory struct {
	c      *container
	loads  []Segment
	blocks map[uint64][]byte
	order  []uint64 // blocks, oldest first
	// lastKey and last are the block that was used last.
	lastKey uint64
	last    []byte
	scratch [64]byte
}

func newMemory(c *container) *memory {
	m := &memory{c: c, blocks: make(map[uint64][]byte), lastKey: ^uint64(0)}
	for _, s := range c.segments {
		if s.kind == elf.PT_LOAD {
			m.loads = append(m.loads, s)
		}
	}
	return m
}

// segmentOf returns the segment that holds addr, nil if there is none.
func (m *memory) segmentOf(addr uint64) *Segment {
	for i := range m.loads {
		if s := &m.loads[i]; addr >= s.vaddr && addr-s.vaddr < s.memsz {
			return s
		}
	}
	return nil
}

// inFile returns the file offset of addr and how many bytes of the file follow
// it within its segment; none when addr is not backed by the file.
func (m *memory) inFile(addr uint64) (off, n uint64) {
	s := m.segmentOf(addr)
	if s == nil || addr-s.vaddr >= s.filesz {
		return 0, 0
	}
	d := addr - s.vaddr
	return s.off + d, s.filesz - d
}

func (m *memory) executable(addr uint64) bool {
	s := m.segmentOf(addr)
	return s != nil && s.Executable
}

// bytes returns up to n bytes at addr, fewer at a segment's end. The slice is
// valid until the next call. n is at most blockSize.
func (m *memory) bytes(addr uint64, n int) []byte {
	off, room := m.inFile(addr)
	n = int(min(uint64(n), room))
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
	// It spans two blocks: join them.
	joined := m.scratch[:0]
	if n > len(m.scratch) {
		joined = make([]byte, 0, n)
	}
	joined = append(joined, b[in:]...)
	next := m.block(off/blockSize + 1)
	return append(joined, next[:min(len(next), n-len(joined))]...)
}

func (m *memory) block(key uint64) []byte {
	if key == m.lastKey {
		return m.last
	}
	b, ok := m.blocks[key]
	if !ok {
		var buf []byte
		if len(m.order) >= maxBlocks {
			oldest := m.order[0]
			m.order = m.order[1:]
			buf = m.blocks[oldest]
			delete(m.blocks, oldest)
		}
		if cap(buf) < blockSize {
			buf = make([]byte, blockSize)
		}
		start := key * blockSize
		buf = buf[:blockSize]
		if left := m.c.size - min(start, m.c.size); left < blockSize {
			buf = buf[:left]
		}
		if err := readFull(m.c.r, buf, int64(start)); err != nil {
			buf = buf[:0]
		}
		b = buf
		m.blocks[key] = b
		m.order = append(m.order, key)
	}
	m.lastKey, m.last = key, b
	return b
}

// word reads width bytes (1, 2, 4 or 8) at addr in the file's byte order.
func (m *memory) word(addr uint64, width int) (uint64, bool) {
	b := m.bytes(addr, width)
	if len(b) < width {
		return 0, false
	}
	switch width {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(m.c.order.Uint16(b)), true
	case 4:
		return uint64(m.c.order.Uint32(b)), true
	case 8:
		return m.c.order.Uint64(b), true
	}
	return 0, false
}

func (m *memory) cString(addr uint64) string {
	return cString(m.bytes(addr, maxName))
}

// pointerSize is that of the file's class.
func (m *memory) pointerSize() int { return m.c.bits / 8 }
