package isa

var amd64Arithmetic = [8]Opcode{OpAdd, OpOr, OpKill, OpKill, OpAnd, OpSub, OpXor, OpKill}

// regScratch carries a value between the operations of one instruction.
const regScratch Reg = 16

// arithmetic is add, or, adc, sbb, and, sub, xor and cmp with a ModRM byte or
// with the accumulator.
func (x *amd64Insn) arithmetic(in *Insn) {
	kind, form, width := x.op>>3, x.op&7, x.width()
	if kind == 7 {
		return
	}
	if kind == 3 && (form == 1 || form == 3) && !x.isMem() && x.reg() == x.rm() && width >= 4 {
		in.op(Operation{Code: OpFlag, Width: width, Dst: Reg(x.rm()), Imm: 1}) // the carry, spread out
		return
	}
	code := amd64Arithmetic[kind]
	dst, src := Reg(x.rm()), Reg(x.reg())
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
			in.op(Operation{Code: code, Width: width, Dst: rax, A: rax, B: RegNone, Imm: x.accumulatorImm(&code)})
			in.ops[in.n-1].Code = code
			return
		}
		in.kill(rax)
		return
	}
	if x.isMem() {
		if form == 3 {
			in.op(x.mem(OpLoad, width, regScratch))
			in.op(Operation{Code: code, Width: width, Dst: dst, A: dst, B: regScratch})
			return
		}
		in.op(x.mem(OpStore, width, RegNone))
		return
	}
	if width < 4 {
		in.kill(dst)
		return
	}
	if dst == src && (kind == 6 || kind == 5) {
		in.op(Operation{Code: OpConst, Width: 8, Dst: dst})
		return
	}
	in.op(Operation{Code: code, Width: width, Dst: dst, A: dst, B: src})
}

// accumulatorImm returns the immediate to use with code, which turns into an
// addition where it subtracts.
func (x *amd64Insn) accumulatorImm(code *Opcode) int64 {
	if *code == OpSub {
		*code = OpAdd
		return -x.imm
	}
	return x.imm
}

func (x *amd64Insn) arithmeticImmediate(in *Insn, width uint8) {
	kind := x.modrm >> 3 & 7
	if kind == 7 {
		return
	}
	code := amd64Arithmetic[kind]
	imm := x.accumulatorImm(&code)
	if (kind == 2 || kind == 3) && !x.isMem() && width >= 4 { // with carry: one more, or one less, or not
		dst := Reg(x.rm())
		carry := int64(1)
		if kind == 3 {
			imm, carry = -imm, -1
		}
		in.op(Operation{Code: OpAdd, Width: width, Dst: dst, A: dst, B: RegNone, Imm: imm})
		in.op(Operation{Code: OpAdd, Width: width, Dst: regScratch, A: dst, B: RegNone, Imm: carry})
		in.op(Operation{Code: OpSelect, Width: width, Dst: dst, A: dst, B: regScratch})
		return
	}
	if width < 4 {
		x.killRM(in, width)
		return
	}
	if !x.isMem() {
		in.op(Operation{Code: code, Width: width, Dst: Reg(x.rm()), A: Reg(x.rm()), B: RegNone, Imm: imm})
		return
	}
	if kind == 4 && imm == 0 { // and $0, mem is a small way to clear
		o := x.mem(OpStoreImm, width, 0)
		o.Disp, o.Imm = o.Imm, 0
		in.op(o)
		return
	}
	if kind == 1 && imm == -1 {
		o := x.mem(OpStoreImm, width, 0)
		o.Disp, o.Imm = o.Imm, -1
		in.op(o)
		return
	}
	in.op(x.mem(OpLoad, width, regScratch))
	in.op(Operation{Code: code, Width: width, Dst: regScratch, A: regScratch, B: RegNone, Imm: imm})
	in.op(x.mem(OpStore, width, regScratch))
}

func (x *amd64Insn) shiftRM(in *Insn, width uint8) {
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
	code := [8]Opcode{OpKill, OpKill, OpKill, OpKill, OpShl, OpShr, OpShl, OpSar}[x.modrm>>3&7]
	in.op(Operation{Code: code, Width: width, Dst: Reg(x.rm()), A: Reg(x.rm()), B: RegNone, Imm: imm})
}

// repeat is movs and stos, with and without a repeat prefix.
func (x *amd64Insn) repeat(in *Insn) {
	width := x.width()
	if x.op&1 == 0 {
		width = 1
	}
	fill := x.op >= 0xaa
	count := RegNone
	if x.rep || x.repn {
		count = rcx
	}
	if fill {
		in.op(Operation{Code: OpFill, Width: width, Dst: count, A: rdi, B: rax})
	} else {
		in.op(Operation{Code: OpCopy, Width: width, Dst: count, A: rdi, B: rsi})
		in.kill(rsi)
	}
	in.kill(rdi)
	if count != RegNone {
		in.op(Operation{Code: OpConst, Width: 8, Dst: rcx})
	}
}
