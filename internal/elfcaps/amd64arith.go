package elfcaps

var amd64Arithmetic = [8]opcode{opAdd, opOr, opKill, opKill, opAnd, opSub, opXor, opKill}

// regScratch carries a value between the operations of one instruction.
const regScratch reg = 16

// arithmetic is add, or, adc, sbb, and, sub, xor and cmp with a ModRM byte or
// with the accumulator.
func (x *amd64Insn) arithmetic(in *insn) {
	kind, form, width := x.op>>3, x.op&7, x.width()
	if kind == 7 {
		return
	}
	if kind == 3 && (form == 1 || form == 3) && !x.isMem() && x.reg() == x.rm() && width >= 4 {
		in.op(operation{code: opFlag, width: width, dst: reg(x.rm()), imm: 1}) // the carry, spread out
		return
	}
	code := amd64Arithmetic[kind]
	dst, src := reg(x.rm()), reg(x.reg())
	switch form {
	case 0, 2:
		if form == 2 {
			in.kill(src)
			return
		}
		x.killRM(in, 1)
		return
	case 3:
		dst, src = src, dst
	case 4, 5:
		if form == 5 && width >= 4 {
			in.op(operation{code: code, width: width, dst: 0, a: 0, b: regNone, imm: x.accumulatorImm(&code)})
			in.ops[in.n-1].code = code
			return
		}
		in.kill(0)
		return
	}
	if x.isMem() {
		if form == 3 {
			in.op(x.mem(opLoad, width, regScratch))
			in.op(operation{code: code, width: width, dst: dst, a: dst, b: regScratch})
			return
		}
		in.op(x.mem(opStore, width, regNone))
		return
	}
	if width < 4 {
		in.kill(dst)
		return
	}
	if dst == src && (kind == 6 || kind == 5) {
		in.op(operation{code: opConst, width: 8, dst: dst})
		return
	}
	in.op(operation{code: code, width: width, dst: dst, a: dst, b: src})
}

// accumulatorImm returns the immediate to use with code, which turns into an
// addition where it subtracts.
func (x *amd64Insn) accumulatorImm(code *opcode) int64 {
	if *code == opSub {
		*code = opAdd
		return -x.imm
	}
	return x.imm
}

func (x *amd64Insn) arithmeticImmediate(in *insn, width uint8) {
	kind := x.modrm >> 3 & 7
	if kind == 7 {
		return
	}
	code := amd64Arithmetic[kind]
	imm := x.accumulatorImm(&code)
	if (kind == 2 || kind == 3) && !x.isMem() && width >= 4 { // with carry: one more, or one less, or not
		dst := reg(x.rm())
		carry := int64(1)
		if kind == 3 {
			imm, carry = -imm, -1
		}
		in.op(operation{code: opAdd, width: width, dst: dst, a: dst, b: regNone, imm: imm})
		in.op(operation{code: opAdd, width: width, dst: regScratch, a: dst, b: regNone, imm: carry})
		in.op(operation{code: opEither, width: width, dst: dst, a: dst, b: regScratch})
		return
	}
	if width < 4 {
		x.killRM(in, width)
		return
	}
	if !x.isMem() {
		in.op(operation{code: code, width: width, dst: reg(x.rm()), a: reg(x.rm()), b: regNone, imm: imm})
		return
	}
	if kind == 4 && imm == 0 { // and $0, mem is a small way to clear
		o := x.mem(opStoreImm, width, 0)
		o.disp, o.imm = o.imm, 0
		in.op(o)
		return
	}
	if kind == 1 && imm == -1 {
		o := x.mem(opStoreImm, width, 0)
		o.disp, o.imm = o.imm, -1
		in.op(o)
		return
	}
	in.op(x.mem(opLoad, width, regScratch))
	in.op(operation{code: code, width: width, dst: regScratch, a: regScratch, b: regNone, imm: imm})
	in.op(x.mem(opStore, width, regScratch))
}

func (x *amd64Insn) shiftRM(in *insn, width uint8) {
	imm := x.imm
	switch x.op {
	case 0xd1:
		imm = 1
	case 0xc1:
		imm &= 63
	default:
		x.killRM(in, width)
		return
	}
	if x.isMem() || width < 4 {
		x.killRM(in, width)
		return
	}
	code := [8]opcode{opKill, opKill, opKill, opKill, opShl, opShr, opShl, opSar}[x.modrm>>3&7]
	in.op(operation{code: code, width: width, dst: reg(x.rm()), a: reg(x.rm()), b: regNone, imm: imm})
}

// repeat is movs and stos, with and without a repeat prefix.
func (x *amd64Insn) repeat(in *insn) {
	width := x.width()
	if x.op&1 == 0 {
		width = 1
	}
	fill := x.op >= 0xaa
	count := regNone
	if x.rep || x.repn {
		count = 1
	}
	if fill {
		in.op(operation{code: opFill, width: width, dst: count, a: 7, b: 0})
	} else {
		in.op(operation{code: opCopy, width: width, dst: count, a: 7, b: 6})
		in.kill(6)
	}
	in.kill(7)
	if count != regNone {
		in.op(operation{code: opConst, width: 8, dst: 1})
	}
}
