package elfcaps

import (
	"github.com/capvet/capvet/internal/isa"
)

// get reads a register.
func (a *analysis) get(s *state, r isa.Reg) value {
	switch {
	case r == isa.RegZero:
		return constant(0)
	case r == isa.RegThread:
		return a.names.symbol(origin{kind: symbolThread})
	case r >= isa.NumRegs:
		return top
	}
	return s.regs[r]
}

func (a *analysis) set(s *state, r isa.Reg, v value) {
	if r < isa.NumRegs {
		s.regs[r] = v
	}
}

// perform carries out one operation; by is how, where that is kept.
func (a *analysis) perform(s *state, o *isa.Operation, pc uint64, by trail) {
	n := a.names
	switch o.Code {
	case isa.OpKill:
		a.set(s, o.Dst, top)
	case isa.OpMov:
		a.set(s, o.Dst, n.each(a.get(s, o.A), func(v value) value { return cut(v, o.Width) }))
	case isa.OpConst:
		a.set(s, o.Dst, cut(constant(uint64(o.Imm)), o.Width))
	case isa.OpInsert:
		v := n.each(a.get(s, o.Dst), func(v value) value {
			if v.kind == kindLow && o.Shift < 32 {
				return low(uint64(v.off)&^(0xffff<<o.Shift) | uint64(o.Imm)<<o.Shift)
			}
			if v.kind != kindConst {
				return top
			}
			bits := uint64(v.off)&^(0xffff<<o.Shift) | uint64(o.Imm)<<o.Shift
			return cut(constant(bits), o.Width)
		})
		a.set(s, o.Dst, v)
	case isa.OpAdd, isa.OpSub, isa.OpAnd, isa.OpOr, isa.OpXor, isa.OpAndNot, isa.OpOrNot:
		b := constant(uint64(o.Imm))
		imm := int64(0)
		if o.B != isa.RegNone {
			b = n.each(a.get(s, o.B), func(v value) value { return shifted(v, o.Shift) })
			imm = o.Imm
		}
		v := n.each(a.get(s, o.A), func(x value) value {
			return n.each(b, func(y value) value { return plus(arith(o.Code, x, y, o.Width), imm) })
		})
		v = n.each(v, func(v value) value { return cut(v, o.Width) })
		if v.kind == kindTop && o.Dst == a.m.SP && o.A == a.m.SP {
			v = n.symbol(origin{kind: symbolResult, pc: pc}) // room for as much as was asked for
		}
		a.set(s, o.Dst, v)
	case isa.OpShl, isa.OpShr, isa.OpSar:
		a.set(s, o.Dst, n.each(a.get(s, o.A), func(v value) value { return shift(o, v) }))
	case isa.OpKeepLow:
		a.set(s, o.Dst, n.each(a.get(s, o.Dst), func(v value) value {
			if v.kind != kindConst && v.kind != kindLow {
				return top
			}
			return low(uint64(v.off))
		}))
	case isa.OpConcat:
		lo, hi := cut(a.get(s, o.A), 4), cut(a.get(s, o.B), 4)
		if lo.kind == kindConst && hi.kind != kindConst {
			a.set(s, o.Dst, low(uint64(lo.off)))
			return
		}
		if lo.kind == kindConst && hi.kind == kindConst {
			a.set(s, o.Dst, constant(uint64(uint32(lo.off))|uint64(hi.off)<<32))
			return
		}
		a.set(s, o.Dst, top)
	case isa.OpSelect:
		b := n.each(a.get(s, o.B), func(v value) value {
			switch o.Imm {
			case 1:
				return plus(v, 1)
			case 2:
				return arith(isa.OpXor, v, constant(^uint64(0)), 8)
			case 3:
				return arith(isa.OpSub, constant(0), v, 8)
			}
			return v
		})
		v := n.either(a.get(s, o.A), b)
		a.set(s, o.Dst, n.each(v, func(v value) value { return cut(v, o.Width) }))
	case isa.OpFlag:
		other := uint64(1)
		if o.Imm == 1 {
			other = ^uint64(0)
		}
		a.set(s, o.Dst, n.either(constant(0), cut(constant(other), o.Width)))
	case isa.OpExtend:
		a.set(s, o.Dst, n.each(a.get(s, o.A), func(v value) value {
			if v = cut(v, o.Width); v.kind != kindConst {
				switch {
				case o.Width >= 4:
					return v
				case o.Imm == 0:
					return value{kind: kindSmall}
				}
				return top
			}
			if o.Imm == 1 {
				return constant(uint64(isa.SignExtend(uint64(v.off), uint(o.Width)*8)))
			}
			return cut(v, o.Width)
		}))
	case isa.OpLoad:
		v := a.load(s, a.address(s, o), o.Width)
		if v.kind == kindTop && o.Width <= 2 {
			v.kind = kindSmall
		}
		a.set(s, o.Dst, v)
	case isa.OpStore:
		a.storeEach(s, a.address(s, o), o.Width, a.get(s, o.Dst), by)
	case isa.OpStoreImm:
		a.storeEach(s, a.address(s, o), o.Width, constant(uint64(o.Imm)), by)
	case isa.OpFill:
		a.fill(s, a.get(s, o.A), a.get(s, o.B), a.count(s, o.Dst), o.Width, by)
	case isa.OpCopy:
		if k := a.count(s, o.Dst); k >= 0 {
			a.copy(s, a.get(s, o.A), a.get(s, o.B), k*int64(o.Width), by)
		}
	}
}

func shift(o *isa.Operation, v value) value {
	if o.Imm == 0 {
		return v
	}
	if v.kind != kindConst {
		if o.Code == isa.OpShl && o.Width == 8 && o.Imm >= 32 {
			return low(0)
		}
		return top
	}
	n := uint(o.Imm) & 63
	bits := uint64(cut(v, o.Width).off)
	switch o.Code {
	case isa.OpShl:
		bits <<= n
	case isa.OpShr:
		bits >>= n
	default:
		bits = uint64(isa.SignExtend(bits, uint(o.Width)*8) >> n)
	}
	return cut(constant(bits), o.Width)
}
