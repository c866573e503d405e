package isa

// twoByte is an opcode after 0f, or of the same map with a VEX prefix.
func (x *amd64Insn) twoByte(pc uint64, in *Insn) {
	b, width := x.op, x.width()
	switch {
	case b == 0x05:
		in.Flow = FlowSyscall
	case b == 0x0b || b == 0xb9 || b == 0xff:
		in.Flow = FlowStop
	case b >= 0x80 && b <= 0x8f && !x.vex:
		in.Flow, in.Target = FlowBranch, pc+uint64(x.length)+uint64(x.imm)
	case b >= 0x40 && b <= 0x4f && !x.vex: // cmov
		dst := Reg(x.reg())
		src := Reg(x.rm())
		if x.isMem() {
			src = regScratch
			in.op(x.mem(OpLoad, width, src))
		}
		in.op(Operation{Code: OpSelect, Width: width, Dst: dst, A: dst, B: src})
	case b == 0xb6 || b == 0xb7: // movzx
		n := b - 0xb5
		if x.isMem() {
			in.op(x.mem(OpLoad, n, Reg(x.reg())))
			return
		}
		if n == 1 && x.rex == 0 && x.rm() >= 4 {
			in.kill(Reg(x.reg())) // ah, ch, dh, bh
			return
		}
		in.op(Operation{Code: OpExtend, Width: n, Dst: Reg(x.reg()), A: Reg(x.rm())})
	case b == 0xbe || b == 0xbf || b == 0xaf || b == 0xbc || b == 0xbd || b == 0xb8 || b == 0x02 || b == 0x03:
		in.kill(Reg(x.reg()))
	case b == 0xa2: // cpuid
		for _, r := range [...]Reg{rax, rcx, rdx, rbx} {
			in.kill(r)
		}
	case b == 0x31: // rdtsc
		in.kill(rax)
		in.kill(rdx)
	case b == 0x18 || b == 0x19 || b == 0x1c || b == 0x1d || b == 0x1f || b == 0x0d: // nops, prefetch
	case b == 0x1e:
		if x.rep && x.modrm >= 0xc8 && x.modrm < 0xd0 {
			in.kill(Reg(x.rm())) // rdssp; otherwise endbr or a nop
		}
	case b >= 0x90 && b <= 0x9f && !x.vex: // setcc: what is above is zero where it is used
		if x.isMem() {
			x.killRM(in, 1)
			return
		}
		in.op(Operation{Code: OpFlag, Width: 8, Dst: Reg(x.rm())})
	case b == 0xb0 || b == 0xb1: // cmpxchg
		in.kill(rax)
		x.killRM(in, width)
	case b == 0xc0 || b == 0xc1: // xadd
		in.kill(Reg(x.reg()))
		x.killRM(in, width)
	case b >= 0xc8 && b <= 0xcf:
		in.kill(Reg(b&7 | x.rex<<3&8))
	case b == 0xba && x.modrm>>3&7 == 4, b == 0xa3: // bt
	case b == 0xba || b == 0xab || b == 0xb3 || b == 0xbb || b == 0xa4 || b == 0xa5 || b == 0xac || b == 0xad:
		x.killRM(in, width)
	case b == 0xc3: // movnti
		x.store(in, Reg(x.reg()), width)
	case b == 0xc7 && x.isMem(): // cmpxchg8b and its group
		in.kill(rax)
		in.kill(rdx)
	default:
		x.vector(in)
	}
}

// vector is the moves and constants of vector registers.
func (x *amd64Insn) vector(in *Insn) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	rlo, rhi := vectorLow(uint32(x.rm())), vectorHigh(uint32(x.rm()))
	plain := !x.rep && !x.repn
	low := func(width uint8) {
		in.op(x.mem(OpLoad, width, lo))
		in.op(Operation{Code: OpConst, Width: 8, Dst: hi})
	}
	switch b := x.op; {
	case (b == 0x10 || b == 0x28) && plain, b == 0x6f && (x.opsize || x.rep):
		x.wholeVector(in, true)
	case (b == 0x11 || b == 0x29 || b == 0x2b) && plain, b == 0x7f && (x.opsize || x.rep), b == 0xe7 && x.opsize:
		x.wholeVector(in, false)
	case b == 0x10 && x.isMem(): // movss, movsd
		low(4 + 4*uint8(btoi(x.repn)))
	case b == 0x11 && x.isMem():
		in.op(x.mem(OpStore, 4+4*uint8(btoi(x.repn)), lo))
	case b == 0x6e: // movd, movq from general
		width := 4 + 4*uint8(btoi(x.w()))
		if x.isMem() {
			low(width)
			return
		}
		in.op(Operation{Code: OpMov, Width: width, Dst: lo, A: Reg(x.rm())})
		in.op(Operation{Code: OpConst, Width: 8, Dst: hi})
	case b == 0x7e && x.rep: // movq
		if x.isMem() {
			low(8)
			return
		}
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: rlo})
		in.op(Operation{Code: OpConst, Width: 8, Dst: hi})
	case b == 0x7e && x.opsize:
		width := 4 + 4*uint8(btoi(x.w()))
		if x.isMem() {
			in.op(x.mem(OpStore, width, lo))
			return
		}
		in.op(Operation{Code: OpMov, Width: width, Dst: Reg(x.rm()), A: lo})
	case b == 0xd6 && x.opsize, b == 0x13 && plain && x.isMem():
		if x.isMem() {
			in.op(x.mem(OpStore, 8, lo))
			return
		}
		in.op(Operation{Code: OpMov, Width: 8, Dst: rlo, A: lo})
		in.op(Operation{Code: OpConst, Width: 8, Dst: rhi})
	case b == 0x12 && plain && x.isMem() && !x.vex:
		in.op(x.mem(OpLoad, 8, lo))
	case b == 0x16 && plain && x.isMem() && !x.vex:
		in.op(x.mem(OpLoad, 8, hi))
	case b == 0x16 && plain && !x.vex: // movlhps
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: rlo})
	case b == 0x17 && x.isMem():
		in.op(x.mem(OpStore, 8, hi))
	case (b == 0xef || b == 0x57) && x.zeroes():
		in.op(Operation{Code: OpConst, Width: 8, Dst: lo})
		in.op(Operation{Code: OpConst, Width: 8, Dst: hi})
	case b == 0x6c && x.opsize && !x.isMem(): // punpcklqdq
		x.otherSource(in, lo)
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: rlo})
	case b == 0x62 && x.opsize && !x.isMem(): // punpckldq: only the low half is kept
		first := lo
		if x.vex {
			first = vectorLow(uint32(x.vvvv))
		}
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: first, B: rlo})
		in.kill(hi)
	case b == 0x70 && x.opsize && !x.isMem() && x.imm == 0: // broadcast of the low word
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: rlo, B: rlo})
		in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: lo})
	case b == 0x2e || b == 0x2f: // compares
	case b == 0xd7 || b == 0x50 || b == 0x2c || b == 0x2d || b == 0xc5: // to general
		in.kill(Reg(x.reg()))
	default:
		in.kill(lo)
		in.kill(hi)
	}
}

// wholeVector is a move of a whole vector register: a load, or a store.
func (x *amd64Insn) wholeVector(in *Insn, load bool) {
	dst, src, code := uint32(x.rm()), uint32(x.reg()), OpStore
	if load {
		dst, src, code = src, dst, OpLoad
	}
	if !x.isMem() {
		in.op(Operation{Code: OpMov, Width: 8, Dst: vectorLow(dst), A: vectorLow(src)})
		in.op(Operation{Code: OpMov, Width: 8, Dst: vectorHigh(dst), A: vectorHigh(src)})
		return
	}
	o := x.mem(code, 8, vectorLow(uint32(x.reg())))
	in.op(o)
	o.Dst, o.Imm = vectorHigh(uint32(x.reg())), o.Imm+8
	in.op(o)
	if x.vexL && !load { // the upper half of a 32-byte store becomes unknown
		o.Dst, o.Imm = RegNone, o.Imm+8
		in.op(o)
		o.Imm += 8
		in.op(o)
	}
}

// zeroes says that both sources of an exclusive or are the same register.
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

// otherSource copies the low half of the first source of a three-operand
// instruction to where a two-operand one has it.
func (x *amd64Insn) otherSource(in *Insn, lo Reg) {
	if x.vex && x.vvvv != x.reg() {
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: vectorLow(uint32(x.vvvv))})
	}
}

// insert is pinsrd and pinsrq.
func (x *amd64Insn) insert(in *Insn) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	src := Reg(x.rm())
	width := uint8(4)
	if x.w() {
		width = 8
	}
	if x.isMem() {
		src = regScratch
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
