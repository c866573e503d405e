package absint

import "github.com/capvet/capvet/internal/isa"

// get reads a register.
func (a *Interpreter) get(s *state, r isa.Reg) Value {
	switch {
	case r == isa.RegZero:
		return Const(0)
	case r == isa.RegThread:
		return a.Values.symbol(Origin{Kind: SymbolThread})
	case r >= isa.NumRegs:
		return top
	}
	return s.regs[r]
}

func (a *Interpreter) set(s *state, r isa.Reg, v Value) {
	if r < isa.NumRegs {
		s.regs[r] = v
	}
}

// perform executes one operation with the trail by.
func (a *Interpreter) perform(s *state, o *isa.Operation, pc uint64, by Trail) {
	n := a.Values
	switch o.Code {
	case isa.OpKill:
		a.set(s, o.Dst, top)
	case isa.OpMov:
		a.set(s, o.Dst, n.truncateEach(a.get(s, o.A), o.Width))
	case isa.OpConst:
		a.set(s, o.Dst, Truncate(Const(uint64(o.Imm)), o.Width))
	case isa.OpInsert:
		v := n.each(a.get(s, o.Dst), func(v Value) Value {
			bits := uint64(v.Off)&^(0xffff<<o.Shift) | uint64(o.Imm)<<o.Shift
			switch {
			case v.Kind == KindConst:
				return Truncate(Const(bits), o.Width)
			case v.Kind == KindLow && o.Shift < 32:
				return low(bits)
			}
			return top
		})
		a.set(s, o.Dst, v)
	case isa.OpAdd, isa.OpSub, isa.OpAnd, isa.OpOr, isa.OpXor, isa.OpAndNot, isa.OpOrNot:
		b := Const(uint64(o.Imm))
		imm := int64(0)
		if o.B != isa.RegNone {
			b = n.each(a.get(s, o.B), func(v Value) Value { return shifted(v, o.Shift) })
			imm = o.Imm
		}
		v := n.each(a.get(s, o.A), func(x Value) Value {
			return n.each(b, func(y Value) Value { return Add(arith(o.Code, x, y, o.Width), imm) })
		})
		v = n.truncateEach(v, o.Width)
		if v.Kind == KindTop && o.Dst == a.Machine.SP && o.A == a.Machine.SP {
			v = n.symbol(Origin{Kind: SymbolResult, PC: pc}) // alloca: a new object
		}
		a.set(s, o.Dst, v)
	case isa.OpShl, isa.OpShr, isa.OpSar:
		a.set(s, o.Dst, n.each(a.get(s, o.A), func(v Value) Value { return shift(o, v) }))
	case isa.OpKeepLow:
		a.set(s, o.Dst, n.each(a.get(s, o.Dst), func(v Value) Value {
			if v.Kind != KindConst && v.Kind != KindLow {
				return top
			}
			return low(uint64(v.Off))
		}))
	case isa.OpConcat:
		a.set(s, o.Dst, concat(Truncate(a.get(s, o.A), 4), Truncate(a.get(s, o.B), 4)))
	case isa.OpSelect:
		b := n.each(a.get(s, o.B), func(v Value) Value {
			switch o.Imm {
			case 1:
				return Add(v, 1)
			case 2:
				return arith(isa.OpXor, v, Const(^uint64(0)), 8)
			case 3:
				return arith(isa.OpSub, Const(0), v, 8)
			}
			return v
		})
		a.set(s, o.Dst, n.truncateEach(n.Join(a.get(s, o.A), b), o.Width))
	case isa.OpFlag:
		other := Const(uint64(1 - 2*o.Imm)) // 1 or -1
		a.set(s, o.Dst, n.Join(Const(0), Truncate(other, o.Width)))
	case isa.OpExtend:
		a.set(s, o.Dst, n.each(a.get(s, o.A), func(v Value) Value {
			v = Truncate(v, o.Width)
			switch {
			case v.Kind == KindConst && o.Imm == 1:
				return Const(uint64(isa.SignExtend(uint64(v.Off), uint(o.Width)*8)))
			case v.Kind == KindConst || o.Width >= 4:
				return v
			case o.Imm == 0:
				return Value{Kind: KindSmall}
			}
			return top
		}))
	case isa.OpLoad:
		v := a.load(s, a.address(s, o), o.Width)
		if v.Kind == KindTop && o.Width <= 2 {
			v.Kind = KindSmall
		}
		a.set(s, o.Dst, v)
	case isa.OpStore:
		a.storeEach(s, a.address(s, o), o.Width, a.get(s, o.Dst), by)
	case isa.OpStoreImm:
		a.storeEach(s, a.address(s, o), o.Width, Const(uint64(o.Imm)), by)
	case isa.OpFill:
		a.fill(s, a.get(s, o.A), a.get(s, o.B), a.count(s, o.Dst), o.Width, by)
	case isa.OpCopy:
		if k := a.count(s, o.Dst); k >= 0 {
			a.copy(s, a.get(s, o.A), a.get(s, o.B), k*int64(o.Width), by)
		}
	}
}

func shift(o *isa.Operation, v Value) Value {
	if o.Imm == 0 {
		return v
	}
	if v.Kind != KindConst {
		if o.Code == isa.OpShl && o.Width == 8 && o.Imm >= 32 {
			return low(0)
		}
		return top
	}
	n := uint(o.Imm) & 63
	bits := uint64(Truncate(v, o.Width).Off)
	switch o.Code {
	case isa.OpShl:
		bits <<= n
	case isa.OpShr:
		bits >>= n
	default:
		bits = uint64(isa.SignExtend(bits, uint(o.Width)*8) >> n)
	}
	return Truncate(Const(bits), o.Width)
}

// concat returns the value with lo as its low 32 bits and hi as its high ones.
func concat(lo, hi Value) Value {
	switch {
	case lo.Kind == KindConst && hi.Kind == KindConst:
		return Const(uint64(uint32(lo.Off)) | uint64(hi.Off)<<32)
	case lo.Kind == KindConst:
		return low(uint64(lo.Off))
	}
	return top
}
