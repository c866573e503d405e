package elfcaps

// Thread-local data is reached from the thread pointer: by an offset in the code
// (tls_v1 in testdata), by one that the loader leaves in a slot, or by a call that
// a slot describes. Within one file all three come to the same value, the thread
// pointer and an offset, as if the file's block were the first one: that of a
// library is elsewhere, but nothing else is at its place here.

// threadSlot is a slot that the loader fills for thread-local data.
type threadSlot struct {
	// off is within the file's block.
	off int64
	// described says that the slot is a descriptor's, with a function to call.
	described bool
}

// threadBlock returns the segment of the file's thread-local data and where it
// begins, from the thread pointer. Layouts: the ELF TLS ABI, variant 1 on arm64 (a
// header of 16 bytes comes first), 2 on amd64 (the data end at the pointer).
func (a *analysis) threadBlock() (block *segment, start int64) {
	for i := range a.f.c.segments {
		s := &a.f.c.segments[i]
		if s.kind != segTLS || s.align > maxThreadAlign || s.memsz > maxThreadData {
			continue
		}
		align := int64(max(s.align, 1))
		up := func(n int64) int64 { return (n + align - 1) / align * align }
		if a.m.name == "arm64" {
			return s, up(16)
		}
		return s, -up(int64(s.memsz))
	}
	return nil, 0
}

const (
	maxThreadAlign = 1 << 16
	maxThreadData  = 1 << 30
)

// threadData is the address in the file of what width bytes at addr, which are
// from the thread pointer, begin as.
func (a *analysis) threadData(addr value, width uint8) (uint64, bool) {
	if !a.isThread(addr) {
		return 0, false
	}
	block, start := a.threadBlock()
	if block == nil {
		return 0, false
	}
	off := addr.off - start
	if off < 0 || off > int64(block.filesz)-int64(width) {
		return 0, false
	}
	return block.vaddr + uint64(off), true
}

// isThread says that v is a place in thread-local data.
func (a *analysis) isThread(v value) bool {
	return v.kind == kindSymbol && a.names.origins[v.id].kind == symbolThread
}

// threadOffset is the value that the loader leaves in a slot of that kind: an
// offset from the thread pointer.
func (a *analysis) threadOffset(slot uint64) (value, bool) {
	s, ok := a.f.dyn.threads[slot]
	block, start := a.threadBlock()
	if !ok || block == nil {
		return top, false
	}
	if s.described {
		return a.names.symbol(origin{kind: symbolImport, name: threadDescriptor}), true
	}
	return constant(uint64(start + s.off)), true
}

// The functions that say where thread-local data are: one that the loader puts in
// a descriptor, and one of its own. Both are given a slot.
const (
	threadDescriptor = "thread descriptor"
	threadAddress    = "__tls_get_addr"
)

// threadResult is what those functions return: an offset, or an address.
func (a *analysis) threadResult(s *state, name string, other value) value {
	block, start := a.threadBlock()
	if block == nil {
		return other
	}
	if name == threadDescriptor {
		if at := a.get(s, a.m.result); at.kind == kindConst {
			if t, ok := a.f.dyn.threads[uint64(at.off)]; ok {
				return constant(uint64(start + t.off))
			}
		}
		return other
	}
	at := a.get(s, a.m.callArgs[0])
	if at.kind != kindConst {
		return other
	}
	slot := uint64(at.off) + 8 // the module comes first
	off, _ := a.f.mem.word(slot, 8)
	if t, ok := a.f.dyn.threads[slot]; ok {
		off = uint64(t.off)
	}
	return plus(a.get(s, regThread), start+int64(off))
}
