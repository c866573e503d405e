package elfcaps

// twoByte is an opcode after 0f, or of the same map with a VEX prefix.
func (x *amd64Insn) twoByte(pc uint64, in *insn) {
	b, width := x.op, x.width()
	switch {
	case b == 0x05:
		in.flow = flowSyscall
	case b == 0x0b || b == 0xb9 || b == 0xff:
		in.flow = flowStop
	case b >= 0x80 && b <= 0x8f && !x.vex:
		in.flow, in.target = flowBranch, pc+uint64(x.length)+uint64(x.imm)
	case b >= 0x40 && b <= 0x4f && !x.vex: // cmov
		dst := reg(x.reg())
		src := reg(x.rm())
		if x.isMem() {
			src = regScratch
			in.op(x.mem(opLoad, width, src))
		}
		in.op(operation{code: opEither, width: width, dst: dst, a: dst, b: src})
	case b == 0xb6 || b == 0xb7: // movzx
		n := b - 0xb5
		if x.isMem() {
			in.op(x.mem(opLoad, n, reg(x.reg())))
			return
		}
		if n == 1 && x.rex == 0 && x.rm() >= 4 {
			in.kill(reg(x.reg())) // ah, ch, dh, bh
			return
		}
		in.op(operation{code: opExtend, width: n, dst: reg(x.reg()), a: reg(x.rm())})
	case b == 0xbe || b == 0xbf || b == 0xaf || b == 0xbc || b == 0xbd || b == 0xb8 || b == 0x02 || b == 0x03:
		in.kill(reg(x.reg()))
	case b == 0xa2: // cpuid
		for _, r := range []reg{0, 1, 2, 3} {
			in.kill(r)
		}
	case b == 0x31: // rdtsc
		in.kill(0)
		in.kill(2)
	case b == 0x18 || b == 0x19 || b == 0x1c || b == 0x1d || b == 0x1f || b == 0x0d: // nops, prefetch
	case b == 0x1e:
		if x.rep && x.modrm >= 0xc8 && x.modrm < 0xd0 {
			in.kill(reg(x.rm())) // rdssp; otherwise endbr or a nop
		}
	case b >= 0x90 && b <= 0x9f && !x.vex: // setcc: what is above is zero where it is used
		if x.isMem() {
			x.killRM(in, 1)
			return
		}
		in.op(operation{code: opFlag, width: 8, dst: reg(x.rm())})
	case b == 0xb0 || b == 0xb1: // cmpxchg
		in.kill(0)
		x.killRM(in, width)
	case b == 0xc0 || b == 0xc1: // xadd
		in.kill(reg(x.reg()))
		x.killRM(in, width)
	case b >= 0xc8 && b <= 0xcf:
		in.kill(reg(b&7 | x.rex<<3&8))
	case b == 0xba && x.modrm>>3&7 == 4, b == 0xa3: // bt
	case b == 0xba || b == 0xab || b == 0xb3 || b == 0xbb || b == 0xa4 || b == 0xa5 || b == 0xac || b == 0xad:
		x.killRM(in, width)
	case b == 0xc3: // movnti
		x.store(in, reg(x.reg()), width)
	case b == 0xc7 && x.isMem(): // cmpxchg8b and its group
		in.kill(0)
		in.kill(2)
	default:
		x.vector(in)
	}
}

// vector is the moves and constants of vector registers.
func (x *amd64Insn) vector(in *insn) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	rlo, rhi := vectorLow(uint32(x.rm())), vectorHigh(uint32(x.rm()))
	plain := !x.rep && !x.repn
	full := func(load bool) {
		code := opStore
		if load {
			code = opLoad
		}
		switch {
		case x.isMem():
			o := x.mem(code, 8, lo)
			in.op(o)
			o.dst, o.imm = hi, o.imm+8
			in.op(o)
			if x.vexL && !load { // a 32-byte store: the upper half is not followed
				o.dst, o.imm = regNone, o.imm+8
				in.op(o)
				o.imm += 8
				in.op(o)
			}
		case load:
			in.op(operation{code: opMov, width: 8, dst: lo, a: rlo})
			in.op(operation{code: opMov, width: 8, dst: hi, a: rhi})
		default:
			in.op(operation{code: opMov, width: 8, dst: rlo, a: lo})
			in.op(operation{code: opMov, width: 8, dst: rhi, a: hi})
		}
	}
	low := func(width uint8) {
		in.op(x.mem(opLoad, width, lo))
		in.op(operation{code: opConst, width: 8, dst: hi})
	}
	switch b := x.op; {
	case (b == 0x10 || b == 0x28) && plain, b == 0x6f && (x.opsize || x.rep):
		full(true)
	case (b == 0x11 || b == 0x29 || b == 0x2b) && plain, b == 0x7f && (x.opsize || x.rep), b == 0xe7 && x.opsize:
		full(false)
	case b == 0x10 && x.isMem(): // movss, movsd
		low(4 + 4*uint8(btoi(x.repn)))
	case b == 0x11 && x.isMem():
		in.op(x.mem(opStore, 4+4*uint8(btoi(x.repn)), lo))
	case b == 0x6e: // movd, movq from general
		width := 4 + 4*uint8(btoi(x.w()))
		if x.isMem() {
			low(width)
			return
		}
		in.op(operation{code: opMov, width: width, dst: lo, a: reg(x.rm())})
		in.op(operation{code: opConst, width: 8, dst: hi})
	case b == 0x7e && x.rep: // movq
		if x.isMem() {
			low(8)
			return
		}
		in.op(operation{code: opMov, width: 8, dst: lo, a: rlo})
		in.op(operation{code: opConst, width: 8, dst: hi})
	case b == 0x7e && x.opsize:
		width := 4 + 4*uint8(btoi(x.w()))
		if x.isMem() {
			in.op(x.mem(opStore, width, lo))
			return
		}
		in.op(operation{code: opMov, width: width, dst: reg(x.rm()), a: lo})
	case b == 0xd6 && x.opsize, b == 0x13 && plain && x.isMem():
		if x.isMem() {
			in.op(x.mem(opStore, 8, lo))
			return
		}
		in.op(operation{code: opMov, width: 8, dst: rlo, a: lo})
		in.op(operation{code: opConst, width: 8, dst: rhi})
	case b == 0x12 && plain && x.isMem() && !x.vex:
		in.op(x.mem(opLoad, 8, lo))
	case b == 0x16 && plain && x.isMem() && !x.vex:
		in.op(x.mem(opLoad, 8, hi))
	case b == 0x16 && plain && !x.vex: // movlhps
		in.op(operation{code: opMov, width: 8, dst: hi, a: rlo})
	case b == 0x17 && x.isMem():
		in.op(x.mem(opStore, 8, hi))
	case (b == 0xef || b == 0x57) && x.zeroes():
		in.op(operation{code: opConst, width: 8, dst: lo})
		in.op(operation{code: opConst, width: 8, dst: hi})
	case b == 0x6c && x.opsize && !x.isMem(): // punpcklqdq
		x.otherSource(in, lo)
		in.op(operation{code: opMov, width: 8, dst: hi, a: rlo})
	case b == 0x62 && x.opsize && !x.isMem(): // punpckldq: only the low half is kept
		if x.vex {
			in.op(operation{code: opJoinLo, width: 8, dst: lo, a: vectorLow(uint32(x.vvvv)), b: rlo})
			in.kill(hi)
			return
		}
		in.op(operation{code: opJoinLo, width: 8, dst: lo, a: lo, b: rlo})
		in.kill(hi)
	case b == 0x70 && x.opsize && !x.isMem() && x.imm == 0: // broadcast of the low word
		in.op(operation{code: opJoinLo, width: 8, dst: lo, a: rlo, b: rlo})
		in.op(operation{code: opMov, width: 8, dst: hi, a: lo})
	case b == 0x2e || b == 0x2f: // compares
	case b == 0xd7 || b == 0x50 || b == 0x2c || b == 0x2d || b == 0xc5: // to general
		in.kill(reg(x.reg()))
	default:
		in.kill(lo)
		in.kill(hi)
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
func (x *amd64Insn) otherSource(in *insn, lo reg) {
	if x.vex && x.vvvv != x.reg() {
		in.op(operation{code: opMov, width: 8, dst: lo, a: vectorLow(uint32(x.vvvv))})
	}
}

// insert is pinsrd and pinsrq.
func (x *amd64Insn) insert(in *insn) {
	lo, hi := vectorLow(uint32(x.reg())), vectorHigh(uint32(x.reg()))
	src := reg(x.rm())
	width := uint8(4)
	if x.w() {
		width = 8
	}
	if x.isMem() {
		src = regScratch
		in.op(x.mem(opLoad, width, src))
	}
	if x.vex && x.vvvv != x.reg() {
		in.op(operation{code: opMov, width: 8, dst: lo, a: vectorLow(uint32(x.vvvv))})
		in.op(operation{code: opMov, width: 8, dst: hi, a: vectorHigh(uint32(x.vvvv))})
	}
	switch {
	case width == 8 && x.imm&1 == 0:
		in.op(operation{code: opMov, width: 8, dst: lo, a: src})
	case width == 8:
		in.op(operation{code: opMov, width: 8, dst: hi, a: src})
	case x.imm&3 == 1:
		in.op(operation{code: opJoinLo, width: 8, dst: lo, a: lo, b: src})
	case x.imm&3 == 3:
		in.op(operation{code: opJoinLo, width: 8, dst: hi, a: hi, b: src})
	default:
		in.kill(lo)
		in.kill(hi)
	}
}
