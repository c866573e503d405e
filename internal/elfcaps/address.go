package elfcaps

import (
	"github.com/capvet/capvet/internal/isa"
)

// address computes the address of a memory operation.
func (a *analysis) address(s *state, o *isa.Operation) value {
	base := a.get(s, o.A)
	disp := o.Imm
	if o.Code == isa.OpStoreImm {
		disp = o.Disp
	}
	if o.B == isa.RegNone {
		return a.names.each(base, func(v value) value { return plus(v, disp) })
	}
	index := shifted(a.get(s, o.B), o.Shift)
	if base.kind == kindSet || index.kind == kindSet {
		return top
	}
	return plus(arith(isa.OpAdd, base, index, 8), disp)
}

func shifted(v value, n uint8) value {
	if n == 0 {
		return v
	}
	if v.kind != kindConst {
		if n >= 32 {
			return low(0)
		}
		return top
	}
	return constant(uint64(v.off) << (n & 63))
}

// initial is what width bytes at addr hold before the function runs.
func (a *analysis) initial(addr value, width uint8) value {
	switch addr.kind {
	case kindConst:
		if name, ok := a.f.GOT().Imports[uint64(addr.off)]; ok && width == 8 {
			return a.names.symbol(origin{kind: symbolImport, name: name})
		}
		if v, ok := a.threadOffset(uint64(addr.off)); ok && width == 8 {
			return v
		}
		seg := a.f.SegmentOf(uint64(addr.off))
		if seg == nil {
			return top
		}
		var v uint64
		var ok bool
		if width == 8 {
			v, ok = a.f.PointerAt(uint64(addr.off))
		} else {
			v, ok = a.f.Word(uint64(addr.off), int(width))
		}
		if seg.Writable && (!ok || v == 0) {
			return a.names.loaded(addr, width) // set while it runs
		}
		if !ok {
			return top
		}
		return constant(v)
	case kindStack:
		if addr.off < 0 {
			return top
		}
		return a.names.loaded(addr, width)
	case kindSymbol:
		if at, ok := a.threadData(addr, width); ok {
			if v, _ := a.f.Word(at, int(width)); v != 0 {
				return constant(v)
			}
		}
		return a.names.loaded(addr, width)
	}
	return top
}

// load reads memory.
func (a *analysis) load(s *state, addr value, width uint8) value {
	addr = a.mapped(addr)
	return a.names.each(addr, func(at value) value {
		if v, ok := s.load(at, width, a.initial); ok {
			return v
		}
		return a.initial(at, width)
	})
}

// storeEach writes to every place that addr may be; to several only what may
// hold afterwards.
func (a *analysis) storeEach(s *state, addr value, width uint8, v value, by trail) {
	a.noteStore(v)
	if addr.kind != kindSet {
		if (addr.kind == kindConst || a.isThread(addr)) && width >= 4 {
			a.noteGlobal(addr, v, by)
		}
		s.store(addr, width, v, by)
		return
	}
	for _, at := range a.names.alternatives(addr) {
		s.store(at, width, a.names.either(v, a.load(s, at, width)), by)
	}
}

// lowestAddress is below what any program has mapped once it runs
// (vm.mmap_min_addr is at least this nearly everywhere).
const lowestAddress = 4096

// mapped drops those alternatives of an address that no memory is mapped at: a
// flag that shared the register on another path.
func (a *analysis) mapped(addr value) value {
	if addr.kind != kindSet {
		return addr
	}
	var out value
	n := 0
	for _, alt := range a.names.sets[addr.id] {
		if alt.kind == kindConst && (uint64(alt.off) < lowestAddress || a.f.SegmentOf(uint64(alt.off)) == nil) {
			continue
		}
		if n == 0 {
			out = alt
		} else {
			out = a.names.either(out, alt)
		}
		n++
	}
	if n == 0 {
		return addr
	}
	return out
}

// global is what code stores at an address, and how.
type global struct {
	value value
	by    trail
}

// noteGlobal remembers header versions that code stores in globals, and pointers
// to data: another function may pass them on.
func (a *analysis) noteGlobal(addr, v value, by trail) {
	for _, alt := range a.names.alternatives(v) {
		if !knownHeader(cut(alt, 4)) && !a.pointsToData(alt) {
			return
		}
	}
	if have, ok := a.globals[addr]; ok {
		v, by = a.names.either(have.value, v), a.names.both(have.by, by)
	} else if len(a.globals) >= maxGlobals {
		return
	}
	a.globals[addr] = global{v, by}
}

// pointsToData says that v is an address in writable data.
func (a *analysis) pointsToData(v value) bool {
	if v.kind != kindConst {
		return false
	}
	seg := a.f.SegmentOf(uint64(v.off))
	return seg != nil && seg.Writable
}

// headersIn are the places that a header may be at whose address is read from a
// global, as far as code was seen to store one there.
func (a *analysis) headersIn(header value) []value {
	if header.kind != kindSymbol {
		return nil
	}
	o := a.names.origins[header.id]
	if o.kind != symbolLoad || o.base.kind != kindConst && !a.isThread(o.base) {
		return nil
	}
	var out []value
	for _, p := range a.names.alternatives(a.globals[o.base].value) {
		if !a.pointsToData(p) {
			return nil
		}
		out = append(out, plus(p, header.off))
	}
	return out
}

const maxGlobals = 1 << 10
