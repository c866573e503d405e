package absint

import (
	"github.com/capvet/capvet/internal/isa"
)

// Thread-local data is reached from the thread pointer: by an offset in the code
// (tls_v1 in testdata), by one that the loader leaves in a slot, or by a call that
// a slot describes. Within one file all three come to the same value, the thread
// pointer and an offset, as if the file's block were the first one: that of a
// library is elsewhere, but nothing else is at its place here.

// InitialTLS returns the address of the initial value (.tdata) of the thread-local
// variable at addr.
func (a *Interpreter) InitialTLS(addr Value, width uint8) (uint64, bool) {
	if !a.IsThreadLocal(addr) {
		return 0, false
	}
	return a.File.TLSData(addr.Off, width)
}

// IsThreadLocal says that v is a place in thread-local data.
func (a *Interpreter) IsThreadLocal(v Value) bool {
	return v.Kind == KindSymbol && a.Values.Origin(v).Kind == SymbolThread
}

// tlsOffset is the value that the loader leaves in a slot of that kind: an
// offset from the thread pointer.
func (a *Interpreter) tlsOffset(slot uint64) (Value, bool) {
	s, ok := a.File.GOT().TLS[slot]
	start, has := a.File.TLSBlock()
	if !ok || !has {
		return top, false
	}
	if s.Descriptor {
		return a.Values.symbol(Origin{Kind: SymbolImport, Name: tlsDescriptor}), true
	}
	return Const(uint64(start + s.Offset)), true
}

// The functions that say where thread-local data are: one that the loader puts in
// a descriptor, and one of its own. Both are given a slot.
const (
	tlsDescriptor = "thread descriptor"
	tlsGetAddr    = "__tls_get_addr"
)

// tlsResult is what those functions return: an offset, or an address.
func (a *Interpreter) tlsResult(s *state, name string, other Value) Value {
	start, ok := a.File.TLSBlock()
	if !ok {
		return other
	}
	if name == tlsDescriptor {
		if at := a.get(s, a.Machine.Result); at.Kind == KindConst {
			if t, ok := a.File.GOT().TLS[uint64(at.Off)]; ok {
				return Const(uint64(start + t.Offset))
			}
		}
		return other
	}
	at := a.get(s, a.Machine.CallArgs[0])
	if at.Kind != KindConst {
		return other
	}
	slot := uint64(at.Off) + 8 // the module comes first
	off, _ := a.File.Word(slot, 8)
	if t, ok := a.File.GOT().TLS[slot]; ok {
		off = uint64(t.Offset)
	}
	return Add(a.get(s, isa.RegThread), start+int64(off))
}
