package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// address returns the address of a memory operation.
func (a *Interpreter) address(s *state, o *isa.Operation) Value {
	base := a.get(s, o.A)
	disp := o.Imm
	if o.Code == isa.OpStoreImm {
		disp = o.Disp
	}
	if o.B == isa.RegNone {
		return a.Values.addEach(base, disp)
	}
	index := shifted(a.get(s, o.B), o.Shift)
	if base.Kind == KindSet || index.Kind == KindSet {
		return top
	}
	return Add(arith(isa.OpAdd, base, index, 8), disp)
}

func shifted(v Value, n uint8) Value {
	if n == 0 {
		return v
	}
	switch {
	case v.Kind == KindConst:
		return Const(uint64(v.Off) << (n & 63))
	case n >= 32:
		return low(0)
	}
	return top
}

// Initial returns the content of width bytes at addr before the function runs.
func (a *Interpreter) Initial(addr Value, width uint8) Value {
	switch addr.Kind {
	case KindConst:
		if name, ok := a.File.GOT.Imports[uint64(addr.Off)]; ok && width == 8 {
			return a.Values.symbol(Origin{Kind: SymbolImport, Name: name})
		}
		if v, ok := a.tlsOffset(uint64(addr.Off)); ok && width == 8 {
			return v
		}
		seg := a.File.SegmentOf(uint64(addr.Off))
		if seg == nil {
			return top
		}
		v, ok := a.File.Word(uint64(addr.Off), int(width))
		if width == 8 {
			v, ok = a.File.PointerAt(uint64(addr.Off))
		}
		if seg.Writable && (!ok || v == 0) {
			return a.Values.loaded(addr, width) // set at run time
		}
		if !ok {
			return top
		}
		return Const(v)
	case KindStack:
		if addr.Off < 0 {
			return top
		}
		return a.Values.loaded(addr, width)
	case KindSymbol:
		if at, ok := a.initialTLS(addr, width); ok {
			if v, _ := a.File.Word(at, int(width)); v != 0 {
				return Const(v)
			}
		}
		return a.Values.loaded(addr, width)
	}
	return top
}

// load reads memory.
func (a *Interpreter) load(s *state, addr Value, width uint8) Value {
	addr = a.mapped(addr)
	return a.Values.each(addr, func(at Value) Value {
		if v, ok := s.load(at, width, a.Initial); ok {
			return v
		}
		return a.Initial(at, width)
	})
}

// storeEach stores v. Each of several possible addresses keeps its old content as alternative.
func (a *Interpreter) storeEach(s *state, addr Value, width uint8, v Value, by Trail) {
	a.noteStore(v)
	if addr.Kind != KindSet {
		if (addr.Kind == KindConst || a.IsThreadLocal(addr)) && width >= 4 {
			a.noteGlobal(addr, v, by)
		}
		s.store(addr, width, v, by)
		return
	}
	for _, at := range a.Values.Alternatives(addr) {
		s.store(at, width, a.Values.Join(v, a.load(s, at, width)), by)
	}
}

// lowestAddress bounds the addresses that no program maps (vm.mmap_min_addr, by
// default at least this).
const lowestAddress = 4096

// mapped drops unmapped alternatives of an address: flags that shared the register.
func (a *Interpreter) mapped(addr Value) Value {
	if addr.Kind != KindSet {
		return addr
	}
	kept := slices.DeleteFunc(slices.Clone(a.Values.Alternatives(addr)), func(v Value) bool {
		return v.Kind == KindConst && (uint64(v.Off) < lowestAddress || a.File.SegmentOf(uint64(v.Off)) == nil)
	})
	if len(kept) == 0 {
		return addr
	}
	for _, v := range kept[1:] {
		kept[0] = a.Values.Join(kept[0], v)
	}
	return kept[0]
}

// Global is a value that code stores at a fixed address, with its trail.
type Global struct {
	Value Value
	By    Trail
}

// noteGlobal records a header version or pointer to data that another function may pass.
func (a *Interpreter) noteGlobal(addr, v Value, by Trail) {
	for _, alt := range a.Values.Alternatives(v) {
		if !KnownHeader(Truncate(alt, 4)) && !a.pointsToData(alt) {
			return
		}
	}
	if have, ok := a.Globals[addr]; ok {
		v, by = a.Values.Join(have.Value, v), a.Values.JoinTrails(have.By, by)
	} else if len(a.Globals) >= maxGlobals {
		a.cut("code stores versions or pointers at more than %d places", maxGlobals)
		return
	}
	a.Globals[addr] = Global{v, by}
}

// pointsToData reports whether v is an address in writable data.
func (a *Interpreter) pointsToData(v Value) bool {
	if v.Kind != KindConst {
		return false
	}
	seg := a.File.SegmentOf(uint64(v.Off))
	return seg != nil && seg.Writable
}

// HeadersIn returns the possible addresses of a header whose pointer is loaded from a global.
func (a *Interpreter) HeadersIn(header Value) []Value {
	if header.Kind != KindSymbol {
		return nil
	}
	o := a.Values.Origin(header)
	if o.Kind != SymbolLoad || o.Base.Kind != KindConst && !a.IsThreadLocal(o.Base) {
		return nil
	}
	var out []Value
	for _, p := range a.Values.Alternatives(a.Globals[o.Base].Value) {
		if !a.pointsToData(p) {
			return nil
		}
		out = append(out, Add(p, header.Off))
	}
	return out
}

// noteStore records whether the stored value holds a legacy header version.
func (a *Interpreter) noteStore(v Value) {
	if a.StoresLegacy {
		return
	}
	for _, alt := range a.Values.Alternatives(v) {
		if alt.Kind != KindConst && alt.Kind != KindLow {
			continue
		}
		for _, half := range [...]uint32{uint32(alt.Off), uint32(alt.Off >> 32)} {
			a.StoresLegacy = a.StoresLegacy || report.ABIOfHeader(half).Legacy()
		}
	}
}
