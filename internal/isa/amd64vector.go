package isa

// moveVector decodes the moves of a whole vector register.
func (x *amd64Insn) moveVector(in *Insn, code Opcode) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	rlo, rhi := vectorLow(uint32(x.rm())), vectorHigh(uint32(x.rm()))
	switch {
	case x.isMem():
		o := x.mem(code, 8, lo)
		in.op(o)
		o.Dst, o.Imm = hi, o.Imm+8
		in.op(o)
		if x.vexL && code == OpStore { // the upper half of a 32-byte register is unknown
			o.Dst, o.Imm = RegNone, o.Imm+8
			in.op(o)
			o.Imm += 8
			in.op(o)
		}
	case code == OpLoad:
		in.mov(8, lo, rlo)
		in.mov(8, hi, rhi)
	default:
		in.mov(8, rlo, lo)
		in.mov(8, rhi, hi)
	}
}

// vector decodes the moves and constants of vector registers.
func (x *amd64Insn) vector(in *Insn) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	rlo, rhi := vectorLow(uint32(x.rm())), vectorHigh(uint32(x.rm()))
	plain := !x.rep && !x.repn
	switch b := x.op; {
	case (b == 0x10 || b == 0x28) && plain, b == 0x6f && (x.opsize || x.rep):
		x.moveVector(in, OpLoad)
	case (b == 0x11 || b == 0x29 || b == 0x2b) && plain, b == 0x7f && (x.opsize || x.rep), b == 0xe7 && x.opsize:
		x.moveVector(in, OpStore)
	case b == 0x10 && x.isMem(): // movss, movsd
		x.load(in, lo, 4+4*btoi(x.repn))
		in.clear(hi)
	case b == 0x11 && x.isMem():
		x.store(in, lo, 4+4*btoi(x.repn))
	case b == 0x6e: // movd, movq from a general register
		x.load(in, lo, 4+4*btoi(x.w()))
		in.clear(hi)
	case b == 0x7e && x.rep && x.isMem(): // movq
		in.op(x.mem(OpLoad, 8, lo))
		in.clear(hi)
	case b == 0x7e && x.rep:
		in.mov(8, lo, rlo)
		in.clear(hi)
	case b == 0x7e && x.opsize: // movd, movq to a general register
		x.store(in, lo, 4+4*btoi(x.w()))
	case (b == 0xd6 && x.opsize || b == 0x13 && plain) && x.isMem():
		in.op(x.mem(OpStore, 8, lo))
	case b == 0xd6 && x.opsize:
		in.mov(8, rlo, lo)
		in.clear(rhi)
	case b == 0x12 && plain && x.isMem() && !x.vex:
		in.op(x.mem(OpLoad, 8, lo))
	case b == 0x16 && plain && x.isMem() && !x.vex:
		in.op(x.mem(OpLoad, 8, hi))
	case b == 0x16 && plain && !x.vex: // movlhps
		in.mov(8, hi, rlo)
	case b == 0x17 && x.isMem():
		in.op(x.mem(OpStore, 8, hi))
	case (b == 0xef || b == 0x57) && !x.isMem() && x.first() == x.rm():
		in.clear(lo)
		in.clear(hi)
	case b == 0x6c && x.opsize && !x.isMem(): // punpcklqdq
		x.copyFirst(in)
		in.mov(8, hi, rlo)
	case b == 0x62 && x.opsize && !x.isMem(): // punpckldq
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: vectorLow(uint32(x.first())), B: rlo})
		in.kill(hi)
	case b == 0x70 && x.opsize && !x.isMem() && x.imm == 0: // pshufd: broadcast of the low 32 bits
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: rlo, B: rlo})
		in.mov(8, hi, lo)
	case b == 0x2e || b == 0x2f: // ucomis, comis
	case b == 0xd7 || b == 0x50 || b == 0x2c || b == 0x2d || b == 0xc5: // pmovmskb, movmskps, cvt, pextrw
		in.kill(x.reg())
	default:
		in.killVector(uint32(x.reg()))
	}
}

func btoi(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// first returns the first source, which is the destination without VEX.
func (x *amd64Insn) first() Reg {
	if x.vex {
		return x.vvvv
	}
	return x.reg()
}

// copyFirst copies the first source to the destination.
func (x *amd64Insn) copyFirst(in *Insn) {
	if from, to := uint32(x.first()), uint32(x.reg()); from != to {
		in.mov(8, vectorLow(to), vectorLow(from))
		in.mov(8, vectorHigh(to), vectorHigh(from))
	}
}

// insert decodes pinsrd and pinsrq.
func (x *amd64Insn) insert(in *Insn) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	src := x.source(in, 4+4*btoi(x.w()))
	x.copyFirst(in)
	switch {
	case x.w() && x.imm&1 == 0:
		in.mov(8, lo, src)
	case x.w():
		in.mov(8, hi, src)
	case x.imm&3 == 1:
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: lo, B: src})
	case x.imm&3 == 3:
		in.op(Operation{Code: OpConcat, Width: 8, Dst: hi, A: hi, B: src})
	default:
		in.killVector(uint32(x.reg()))
	}
}
