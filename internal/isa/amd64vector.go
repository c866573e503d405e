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
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: rlo})
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: rhi})
	default:
		in.op(Operation{Code: OpMov, Width: 8, Dst: rlo, A: lo})
		in.op(Operation{Code: OpMov, Width: 8, Dst: rhi, A: hi})
	}
}

// vector decodes the moves and constants of vector registers.
func (x *amd64Insn) vector(in *Insn) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	rlo, rhi := vectorLow(uint32(x.rm())), vectorHigh(uint32(x.rm()))
	plain := !x.rep && !x.repn
	low := func(width int) {
		in.op(x.mem(OpLoad, uint8(width), lo))
		in.clear(hi)
	}
	switch b := x.op; {
	case (b == 0x10 || b == 0x28) && plain, b == 0x6f && (x.opsize || x.rep):
		x.moveVector(in, OpLoad)
	case (b == 0x11 || b == 0x29 || b == 0x2b) && plain, b == 0x7f && (x.opsize || x.rep), b == 0xe7 && x.opsize:
		x.moveVector(in, OpStore)
	case b == 0x10 && x.isMem(): // movss, movsd
		low(4 + 4*btoi(x.repn))
	case b == 0x11 && x.isMem():
		in.op(x.mem(OpStore, 4+4*uint8(btoi(x.repn)), lo))
	case b == 0x6e: // movd, movq from a general register
		width := 4 + 4*btoi(x.w())
		if x.isMem() {
			low(width)
			return
		}
		in.op(Operation{Code: OpMov, Width: uint8(width), Dst: lo, A: x.rm()})
		in.clear(hi)
	case b == 0x7e && x.rep: // movq
		if x.isMem() {
			low(8)
			return
		}
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: rlo})
		in.clear(hi)
	case b == 0x7e && x.opsize: // movd, movq to a general register
		width := 4 + 4*uint8(btoi(x.w()))
		if x.isMem() {
			in.op(x.mem(OpStore, width, lo))
			return
		}
		in.op(Operation{Code: OpMov, Width: width, Dst: x.rm(), A: lo})
	case b == 0xd6 && x.opsize, b == 0x13 && plain && x.isMem():
		if x.isMem() {
			in.op(x.mem(OpStore, 8, lo))
			return
		}
		in.op(Operation{Code: OpMov, Width: 8, Dst: rlo, A: lo})
		in.clear(rhi)
	case b == 0x12 && plain && x.isMem() && !x.vex:
		in.op(x.mem(OpLoad, 8, lo))
	case b == 0x16 && plain && x.isMem() && !x.vex:
		in.op(x.mem(OpLoad, 8, hi))
	case b == 0x16 && plain && !x.vex: // movlhps
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: rlo})
	case b == 0x17 && x.isMem():
		in.op(x.mem(OpStore, 8, hi))
	case (b == 0xef || b == 0x57) && x.zeroes():
		in.clear(lo)
		in.clear(hi)
	case b == 0x6c && x.opsize && !x.isMem(): // punpcklqdq
		x.firstSource(in, lo)
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: rlo})
	case b == 0x62 && x.opsize && !x.isMem(): // punpckldq
		first := lo
		if x.vex {
			first = vectorLow(uint32(x.vvvv))
		}
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: first, B: rlo})
		in.kill(hi)
	case b == 0x70 && x.opsize && !x.isMem() && x.imm == 0: // pshufd: broadcast of the low 32 bits
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: rlo, B: rlo})
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: lo})
	case b == 0x2e || b == 0x2f: // ucomis, comis
	case b == 0xd7 || b == 0x50 || b == 0x2c || b == 0x2d || b == 0xc5: // pmovmskb, movmskps, cvt, pextrw
		in.kill(x.reg())
	default:
		in.kill(lo)
		in.kill(hi)
	}
}

// zeroes reports whether both sources of an exclusive or are the same register.
func (x *amd64Insn) zeroes() bool {
	if x.isMem() {
		return false
	}
	if x.vex {
		return x.vvvv == x.rm()
	}
	return x.reg() == x.rm()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// firstSource copies the low half of a VEX instruction's first source to the
// destination lo, as two-operand instructions expect.
func (x *amd64Insn) firstSource(in *Insn, lo Reg) {
	if x.vex && x.vvvv != x.reg() {
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: vectorLow(uint32(x.vvvv))})
	}
}

// insert decodes pinsrd and pinsrq.
func (x *amd64Insn) insert(in *Insn) {
	lo, hi, src := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg())), x.rm()
	width := 4 + 4*uint8(btoi(x.w()))
	if x.isMem() {
		src = amd64Scratch
		in.op(x.mem(OpLoad, width, src))
	}
	if x.vex && x.vvvv != x.reg() {
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: vectorLow(uint32(x.vvvv))})
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: vectorHigh(uint32(x.vvvv))})
	}
	switch {
	case width == 8 && x.imm&1 == 0:
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: src})
	case width == 8:
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: src})
	case x.imm&3 == 1:
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: lo, B: src})
	case x.imm&3 == 3:
		in.op(Operation{Code: OpConcat, Width: 8, Dst: hi, A: hi, B: src})
	default:
		in.kill(lo)
		in.kill(hi)
	}
}
