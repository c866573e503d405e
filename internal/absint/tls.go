package absint

import "github.com/capvet/capvet/internal/isa"

// Code reaches thread-local data in three ways: by an offset from the thread
// pointer in an instruction, by an offset in a GOT slot, and by a call of a function
// that takes a GOT slot. All three give the same value here, the thread pointer plus
// an offset, as if the file were the main program. The block of a library has
// another place at run time, but that place holds no other data of the file.

// initialTLS returns the address of a thread-local variable's initial value (.tdata).
func (a *Interpreter) initialTLS(addr Value, width uint8) (uint64, bool) {
	if !a.IsThreadLocal(addr) {
		return 0, false
	}
	return a.File.TLSData(addr.Off, width)
}

// IsThreadLocal reports whether v is an address in thread-local data.
func (a *Interpreter) IsThreadLocal(v Value) bool {
	return v.Kind == KindSymbol && a.Values.Origin(v).Kind == SymbolThread
}

// tlsOffset returns the content of a variable's GOT slot: an offset, or a descriptor's resolver.
func (a *Interpreter) tlsOffset(slot uint64) (Value, bool) {
	s, ok := a.File.GOT.TLS[slot]
	start, has := a.File.TLSBlock()
	if !ok || !has {
		return top, false
	}
	if s.Descriptor {
		return a.Values.symbol(Origin{Kind: SymbolImport, Name: tlsDescriptor}), true
	}
	return Const(uint64(start + s.Offset)), true
}

// Names of the functions that locate thread-local data: the resolver of a TLS
// descriptor, and the loader's own. Both take the address of a slot.
const (
	tlsDescriptor = "thread descriptor"
	tlsGetAddr    = "__tls_get_addr"
)

// tlsResult returns the result of one of these functions: an offset, or an address.
func (a *Interpreter) tlsResult(s *state, name string, other Value) Value {
	start, ok := a.File.TLSBlock()
	at, behind := a.get(s, a.Machine.CallArgs[0]), int64(8) // the module ID
	if name == tlsDescriptor {
		at, behind = a.get(s, a.Machine.Result), 0
	}
	slot := uint64(at.Off + behind)
	t, known := a.File.GOT.TLS[slot]
	if !ok || at.Kind != KindConst || name == tlsDescriptor && !known {
		return other
	}
	if name == tlsDescriptor {
		return Const(uint64(start + t.Offset))
	}
	if !known {
		off, _ := a.File.Word(slot, 8)
		t.Offset = int64(off)
	}
	return Add(a.get(s, isa.RegThread), start+t.Offset)
}
