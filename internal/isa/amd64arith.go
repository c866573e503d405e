package isa

// amd64Arithmetic lists add, or, adc, sbb, and, sub, xor and cmp.
var amd64Arithmetic = [8]Opcode{OpAdd, OpOr, OpKill, OpKill, OpAnd, OpSub, OpXor, OpKill}

// amd64Scratch is a pseudo-register between the operations of one instruction.
const amd64Scratch Reg = 16

// arithmetic decodes amd64Arithmetic with a ModRM byte or the accumulator.
func (x *amd64Insn) arithmetic(in *Insn) {
	kind, form, width := x.op>>3, x.op&7, x.width()
	if kind == 7 { // cmp
		return
	}
	if kind == 3 && (form == 1 || form == 3) && !x.isMem() && x.reg() == x.rm() && width >= 4 {
		in.op(Operation{Code: OpFlag, Width: width, Dst: x.rm(), Imm: 1}) // 0 - carry
		return
	}
	code := amd64Arithmetic[kind]
	dst, src := x.rm(), x.reg()
	switch form {
	case 0:
		x.killRM(in, 1)
		return
	case 2:
		in.kill(src)
		return
	case 3:
		dst, src = src, dst
	case 4, 5:
		if form == 5 && width >= 4 {
			code, imm := asAddition(code, x.imm)
			in.op(Operation{Code: code, Width: width, Dst: rax, A: rax, B: RegNone, Imm: imm})
			return
		}
		in.kill(rax)
		return
	}
	if x.isMem() {
		if form == 3 {
			in.op(x.mem(OpLoad, width, amd64Scratch))
			in.op(Operation{Code: code, Width: width, Dst: dst, A: dst, B: amd64Scratch})
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
		in.clear(dst)
		return
	}
	in.op(Operation{Code: code, Width: width, Dst: dst, A: dst, B: src})
}

// asAddition replaces the subtraction of an immediate by an addition.
func asAddition(code Opcode, imm int64) (Opcode, int64) {
	if code == OpSub {
		return OpAdd, -imm
	}
	return code, imm
}

// arithmeticImmediate decodes the opcodes 81 and 83.
func (x *amd64Insn) arithmeticImmediate(in *Insn, width uint8) {
	kind := x.ext()
	if kind == 7 { // cmp
		return
	}
	code, imm := asAddition(amd64Arithmetic[kind], x.imm)
	if (kind == 2 || kind == 3) && !x.isMem() && width >= 4 { // adc, sbb: both values of the carry
		dst := x.rm()
		carry := int64(1)
		if kind == 3 {
			imm, carry = -imm, -1
		}
		in.op(Operation{Code: OpAdd, Width: width, Dst: dst, A: dst, B: RegNone, Imm: imm})
		in.op(Operation{Code: OpAdd, Width: width, Dst: amd64Scratch, A: dst, B: RegNone, Imm: carry})
		in.op(Operation{Code: OpSelect, Width: width, Dst: dst, A: dst, B: amd64Scratch})
		return
	}
	if width < 4 {
		x.killRM(in, width)
		return
	}
	if !x.isMem() {
		in.op(Operation{Code: code, Width: width, Dst: x.rm(), A: x.rm(), B: RegNone, Imm: imm})
		return
	}
	if kind == 4 && imm == 0 || kind == 1 && imm == -1 { // and $0, or $-1: short stores
		x.storeImm(in, width, imm)
		return
	}
	in.op(x.mem(OpLoad, width, amd64Scratch))
	in.op(Operation{Code: code, Width: width, Dst: amd64Scratch, A: amd64Scratch, B: RegNone, Imm: imm})
	in.op(x.mem(OpStore, width, amd64Scratch))
}

// shiftRM decodes shifts and rotates.
func (x *amd64Insn) shiftRM(in *Insn, width uint8) {
	imm := x.imm & 63
	if x.op == 0xd1 {
		imm = 1
	}
	if x.op != 0xd1 && x.op != 0xc1 || x.isMem() || width < 4 {
		x.killRM(in, width)
		return
	}
	code := [8]Opcode{OpKill, OpKill, OpKill, OpKill, OpShl, OpShr, OpShl, OpSar}[x.ext()]
	in.op(Operation{Code: code, Width: width, Dst: x.rm(), A: x.rm(), B: RegNone, Imm: imm})
}

// stringOp decodes movs and stos.
func (x *amd64Insn) stringOp(in *Insn) {
	width := x.width()
	if x.op&1 == 0 {
		width = 1
	}
	count := RegNone
	if x.rep || x.repn {
		count = rcx
	}
	if x.op >= 0xaa { // stos
		in.op(Operation{Code: OpFill, Width: width, Dst: count, A: rdi, B: rax})
	} else {
		in.op(Operation{Code: OpCopy, Width: width, Dst: count, A: rdi, B: rsi})
		in.kill(rsi)
	}
	in.kill(rdi)
	if count != RegNone {
		in.clear(rcx)
	}
}
