package elfcaps

import (
	"github.com/capvet/capvet/internal/isa"
)

// Thread-local data is reached from the thread pointer: by an offset in the code
// (tls_v1 in testdata), by one that the loader leaves in a slot, or by a call that
// a slot describes. Within one file all three come to the same value, the thread
// pointer and an offset, as if the file's block were the first one: that of a
// library is elsewhere, but nothing else is at its place here.

// threadData returns the address of the initial value (.tdata) of the thread-local
// variable at addr.
func (a *analysis) threadData(addr value, width uint8) (uint64, bool) {
	if !a.isThread(addr) {
		return 0, false
	}
	return a.f.TLSData(addr.off, width)
}

// isThread says that v is a place in thread-local data.
func (a *analysis) isThread(v value) bool {
	return v.kind == kindSymbol && a.names.origins[v.id].kind == symbolThread
}

// threadOffset is the value that the loader leaves in a slot of that kind: an
// offset from the thread pointer.
func (a *analysis) threadOffset(slot uint64) (value, bool) {
	s, ok := a.f.GOT().TLS[slot]
	start, has := a.f.TLSBlock()
	if !ok || !has {
		return top, false
	}
	if s.Descriptor {
		return a.names.symbol(origin{kind: symbolImport, name: threadDescriptor}), true
	}
	return constant(uint64(start + s.Offset)), true
}

// The functions that say where thread-local data are: one that the loader puts in
// a descriptor, and one of its own. Both are given a slot.
const (
	threadDescriptor = "thread descriptor"
	threadAddress    = "__tls_get_addr"
)

// threadResult is what those functions return: an offset, or an address.
func (a *analysis) threadResult(s *state, name string, other value) value {
	start, ok := a.f.TLSBlock()
	if !ok {
		return other
	}
	if name == threadDescriptor {
		if at := a.get(s, a.m.Result); at.kind == kindConst {
			if t, ok := a.f.GOT().TLS[uint64(at.off)]; ok {
				return constant(uint64(start + t.Offset))
			}
		}
		return other
	}
	at := a.get(s, a.m.CallArgs[0])
	if at.kind != kindConst {
		return other
	}
	slot := uint64(at.off) + 8 // the module comes first
	off, _ := a.f.Word(slot, 8)
	if t, ok := a.f.GOT().TLS[slot]; ok {
		off = uint64(t.Offset)
	}
	return plus(a.get(s, isa.RegThread), start+int64(off))
}
