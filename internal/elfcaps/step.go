package elfcaps

// get reads a register.
func (a *analysis) get(s *state, r reg) value {
	switch {
	case r == regZero:
		return constant(0)
	case r == regThread:
		return a.names.symbol(origin{kind: symbolThread})
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

// perform carries out one operation; by is how, where that is kept.
func (a *analysis) perform(s *state, o *operation, pc uint64, by trail) {
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
		v = n.each(v, func(v value) value { return cut(v, o.width) })
		if v.kind == kindTop && o.dst == a.m.sp && o.a == a.m.sp {
			v = n.symbol(origin{kind: symbolResult, pc: pc}) // room for as much as was asked for
		}
		a.set(s, o.dst, v)
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
				switch {
				case o.width >= 4:
					return v
				case o.imm == 0:
					return value{kind: kindSmall}
				}
				return top
			}
			if o.imm == 1 {
				return constant(uint64(signExtend(uint64(v.off), uint(o.width)*8)))
			}
			return cut(v, o.width)
		}))
	case opLoad:
		v := a.load(s, a.address(s, o), o.width)
		if v.kind == kindTop && o.width <= 2 {
			v.kind = kindSmall
		}
		a.set(s, o.dst, v)
	case opStore:
		a.storeEach(s, a.address(s, o), o.width, a.get(s, o.dst), by)
	case opStoreImm:
		a.storeEach(s, a.address(s, o), o.width, constant(uint64(o.imm)), by)
	case opFill:
		a.fill(s, a.get(s, o.a), a.get(s, o.b), a.count(s, o.dst), o.width, by)
	case opCopy:
		if k := a.count(s, o.dst); k >= 0 {
			a.copy(s, a.get(s, o.a), a.get(s, o.b), k*int64(o.width), by)
		}
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
