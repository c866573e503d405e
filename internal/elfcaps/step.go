package elfcaps

// get reads a register.
func (a *analysis) get(s *state, r reg) value {
	switch {
	case r == regZero:
		return constant(0)
	case r >= numRegs:
		return top
	}
	return s.regs[r]
}

func (a *analysis) set(s *state, r reg, v value) {
	if r < numRegs {
		s.regs[r] = v
	}
}

// address computes the address of a memory operation.
func (a *analysis) address(s *state, o *operation) value {
	base := a.get(s, o.a)
	disp := o.imm
	if o.code == opStoreImm {
		disp = o.disp
	}
	if o.b == regNone {
		return a.names.each(base, func(v value) value { return plus(v, disp) })
	}
	index := shifted(a.get(s, o.b), o.shift)
	if base.kind == kindSet || index.kind == kindSet {
		return top
	}
	return plus(arith(opAdd, base, index, 8), disp)
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
		if name, ok := a.f.dyn.imports[uint64(addr.off)]; ok && width == 8 {
			return a.names.symbol(origin{kind: symbolImport, name: name})
		}
		seg := a.f.mem.segmentOf(uint64(addr.off))
		if seg == nil {
			return top
		}
		var v uint64
		var ok bool
		if width == 8 {
			v, ok = a.f.pointerAt(uint64(addr.off))
		} else {
			v, ok = a.f.mem.word(uint64(addr.off), int(width))
		}
		if seg.writable && (!ok || v == 0) {
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
		return a.names.loaded(addr, width)
	}
	return top
}

// load reads memory.
func (a *analysis) load(s *state, addr value, width uint8) value {
	addr = a.mapped(addr)
	return a.names.each(addr, func(at value) value {
		if v, _, ok := s.load(at, width, a.initial); ok {
			return v
		}
		return a.initial(at, width)
	})
}

// step performs one operation.
func (a *analysis) step(s *state, o *operation, pc uint64) {
	n := a.names
	switch o.code {
	case opKill:
		a.set(s, o.dst, top)
	case opMov:
		a.set(s, o.dst, n.each(a.get(s, o.a), func(v value) value { return cut(v, o.width) }))
	case opConst:
		a.set(s, o.dst, cut(constant(uint64(o.imm)), o.width))
	case opInsert:
		v := n.each(a.get(s, o.dst), func(v value) value {
			if v.kind == kindLow && o.shift < 32 {
				return low(uint64(v.off)&^(0xffff<<o.shift) | uint64(o.imm)<<o.shift)
			}
			if v.kind != kindConst {
				return top
			}
			bits := uint64(v.off)&^(0xffff<<o.shift) | uint64(o.imm)<<o.shift
			return cut(constant(bits), o.width)
		})
		a.set(s, o.dst, v)
	case opAdd, opSub, opAnd, opOr, opXor, opAndNot, opOrNot:
		b := constant(uint64(o.imm))
		imm := int64(0)
		if o.b != regNone {
			b = n.each(a.get(s, o.b), func(v value) value { return shifted(v, o.shift) })
			imm = o.imm
		}
		v := n.each(a.get(s, o.a), func(x value) value {
			return n.each(b, func(y value) value { return plus(arith(o.code, x, y, o.width), imm) })
		})
		a.set(s, o.dst, n.each(v, func(v value) value { return cut(v, o.width) }))
	case opShl, opShr, opSar:
		a.set(s, o.dst, n.each(a.get(s, o.a), func(v value) value { return shift(o, v) }))
	case opKeepLow:
		a.set(s, o.dst, n.each(a.get(s, o.dst), func(v value) value {
			if v.kind != kindConst && v.kind != kindLow {
				return top
			}
			return low(uint64(v.off))
		}))
	case opJoinLo:
		lo, hi := cut(a.get(s, o.a), 4), cut(a.get(s, o.b), 4)
		if lo.kind == kindConst && hi.kind != kindConst {
			a.set(s, o.dst, low(uint64(lo.off)))
			return
		}
		if lo.kind == kindConst && hi.kind == kindConst {
			a.set(s, o.dst, constant(uint64(uint32(lo.off))|uint64(hi.off)<<32))
			return
		}
		a.set(s, o.dst, top)
	case opEither:
		b := n.each(a.get(s, o.b), func(v value) value {
			switch o.imm {
			case 1:
				return plus(v, 1)
			case 2:
				return arith(opXor, v, constant(^uint64(0)), 8)
			case 3:
				return arith(opSub, constant(0), v, 8)
			}
			return v
		})
		v := n.either(a.get(s, o.a), b)
		a.set(s, o.dst, n.each(v, func(v value) value { return cut(v, o.width) }))
	case opFlag:
		other := uint64(1)
		if o.imm == 1 {
			other = ^uint64(0)
		}
		a.set(s, o.dst, n.either(constant(0), cut(constant(other), o.width)))
	case opExtend:
		a.set(s, o.dst, n.each(a.get(s, o.a), func(v value) value {
			if v = cut(v, o.width); v.kind != kindConst {
				if o.width >= 4 {
					return v
				}
				return top
			}
			if o.imm == 1 {
				return constant(uint64(signExtend(uint64(v.off), uint(o.width)*8)))
			}
			return cut(v, o.width)
		}))
	case opLoad:
		a.set(s, o.dst, a.load(s, a.address(s, o), o.width))
	case opStore:
		a.storeEach(s, a.address(s, o), o.width, a.get(s, o.dst), pc)
	case opStoreImm:
		a.storeEach(s, a.address(s, o), o.width, constant(uint64(o.imm)), pc)
	case opFill:
		a.fill(s, a.get(s, o.a), a.get(s, o.b), a.count(s, o.dst), o.width, pc)
	case opCopy:
		if k := a.count(s, o.dst); k >= 0 {
			a.copy(s, a.get(s, o.a), a.get(s, o.b), k*int64(o.width), pc)
		}
	}
}

// storeEach writes to every place that addr may be; to several only what may
// hold afterwards.
func (a *analysis) storeEach(s *state, addr value, width uint8, v value, pc uint64) {
	if addr.kind != kindSet {
		if addr.kind == kindConst && width >= 4 {
			a.noteGlobal(uint64(addr.off), v)
		}
		s.store(addr, width, v, pc)
		return
	}
	for _, at := range a.names.alternatives(addr) {
		s.store(at, width, a.names.either(v, a.load(s, at, width)), pc)
	}
}

func shift(o *operation, v value) value {
	if o.imm == 0 {
		return v
	}
	if v.kind != kindConst {
		if o.code == opShl && o.width == 8 && o.imm >= 32 {
			return low(0)
		}
		return top
	}
	n := uint(o.imm) & 63
	bits := uint64(cut(v, o.width).off)
	switch o.code {
	case opShl:
		bits <<= n
	case opShr:
		bits >>= n
	default:
		bits = uint64(signExtend(bits, uint(o.width)*8) >> n)
	}
	return cut(constant(bits), o.width)
}

// count is how often a string instruction runs, -1 when that is not known.
func (a *analysis) count(s *state, r reg) int64 {
	if r == regNone {
		return 1
	}
	if v := a.get(s, r); v.kind == kindConst && v.off >= 0 && v.off <= maxLiteral {
		return v.off
	}
	return -1
}

// fill sets n elements of width bytes at addr to v.
func (a *analysis) fill(s *state, addr, v value, n int64, width uint8, pc uint64) {
	v = cut(v, width)
	if n < 0 {
		n = 1
		v = top
	}
	size := n * int64(width)
	if v.isConst(0) { // in larger pieces
		for off := int64(0); off < min(size, maxCopy*8); off += 8 {
			s.store(plus(addr, off), uint8(min(8, size-off)), v, pc)
		}
		return
	}
	for i := range min(n, maxCopy) {
		s.store(plus(addr, i*int64(width)), width, v, pc)
	}
}

// copy copies size bytes.
func (a *analysis) copy(s *state, to, from value, size int64, pc uint64) {
	size = min(size, maxCopy)
	var words [maxCopy / 8]value
	for off := int64(0); off < size; off += 8 {
		words[off/8] = a.load(s, plus(from, off), uint8(copyWidth(size-off)))
	}
	for off := int64(0); off < size; off += 8 {
		s.store(plus(to, off), uint8(copyWidth(size-off)), words[off/8], pc)
	}
}

// copyWidth is the width of the next access for n bytes that are left.
func copyWidth(n int64) int64 {
	switch {
	case n >= 8:
		return 8
	case n >= 4:
		return 4
	case n >= 2:
		return 2
	}
	return 1
}

// libraryCall models the functions of the C library that fill or copy memory.
func (a *analysis) libraryCall(s *state, name string, pc uint64) {
	x, y, z := a.get(s, a.m.callArgs[0]), a.get(s, a.m.callArgs[1]), a.get(s, a.m.callArgs[2])
	known := z.kind == kindConst && z.off >= 0
	switch name {
	case "memset", "__memset_chk":
		if !known {
			z.off = 1
		}
		if y.isConst(0) {
			a.fill(s, x, y, z.off, 1, pc)
		} else {
			a.fill(s, x, top, min(z.off, maxCopy)/4, 4, pc)
		}
	case "bzero":
		if y.kind == kindConst && y.off >= 0 {
			a.fill(s, x, constant(0), y.off, 1, pc)
		}
	case "memcpy", "memmove", "mempcpy", "__memcpy_chk", "__memmove_chk":
		if known {
			a.copy(s, x, y, z.off, pc)
		}
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
		if alt.kind == kindConst && (uint64(alt.off) < lowestAddress || a.f.mem.segmentOf(uint64(alt.off)) == nil) {
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

// noteGlobal remembers header versions that code stores in globals: another
// function may pass them on.
func (a *analysis) noteGlobal(addr uint64, v value) {
	for _, alt := range a.names.alternatives(v) {
		if !knownHeader(cut(alt, 4)) {
			return
		}
	}
	v = a.names.each(v, func(x value) value { return cut(x, 4) })
	if have, ok := a.globals[addr]; ok {
		v = a.names.either(have, v)
	} else if len(a.globals) >= maxGlobals {
		return
	}
	a.globals[addr] = v
}

const maxGlobals = 1 << 10
