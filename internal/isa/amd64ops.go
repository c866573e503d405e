package isa

import "bytes"

// decodeAMD64 decodes one instruction of 64-bit mode.
func decodeAMD64(code []byte, pc uint64, in *Insn) bool {
	var x amd64Insn
	if !x.parse(code, pc) {
		return false
	}
	*in = Insn{Length: x.length}
	switch {
	case x.opmap == mapOneByte:
		x.oneByte(pc, in)
	case x.opmap == map0F:
		x.twoByte(pc, in)
	case x.opmap == map0F3A && x.op == 0x22 && x.opsize:
		x.insert(in)
	default:
		x.unknown(in)
	}
	return true
}

// mem returns a load, store or address computation of the memory operand.
func (x *amd64Insn) mem(code Opcode, width uint8, r Reg) Operation {
	o := Operation{Code: code, Width: width, Dst: r, A: x.base, B: x.index, Shift: x.shift, Imm: x.disp}
	if x.addrUnknown {
		o.A = RegNone
		if x.fs && x.index == RegNone && x.opmap != mapEVEX {
			if x.base != RegZero {
				o.B, o.Shift = x.base, 0
			} else if code == OpLoad && width == 8 && x.disp == 0 {
				// The thread control block begins with its own address.
				return Operation{Code: OpMov, Width: 8, Dst: r, A: RegThread, B: RegNone}
			}
			o.A = RegThread
		}
	}
	return o
}

// load copies the rm operand to dst, store copies src to the rm operand.
func (x *amd64Insn) load(in *Insn, dst Reg, width uint8) {
	if x.isMem() {
		in.op(x.mem(OpLoad, width, dst))
	} else {
		in.mov(width, dst, x.rm())
	}
}

func (x *amd64Insn) store(in *Insn, src Reg, width uint8) {
	switch {
	case x.isMem():
		in.op(x.mem(OpStore, width, src))
	case width < 4:
		in.kill(x.rm()) // partial write
	default:
		in.mov(width, x.rm(), src)
	}
}

// source returns the register with the rm operand, a scratch register for memory.
func (x *amd64Insn) source(in *Insn, width uint8) Reg {
	if !x.isMem() {
		return x.rm()
	}
	in.op(x.mem(OpLoad, width, amd64Scratch))
	return amd64Scratch
}

// killRM makes the rm operand unknown.
func (x *amd64Insn) killRM(in *Insn, width uint8) { x.store(in, RegNone, width) }

// storeImm stores imm in the memory operand.
func (x *amd64Insn) storeImm(in *Insn, width uint8, imm int64) {
	o := x.mem(OpStoreImm, width, 0)
	o.Disp, o.Imm = o.Imm, imm
	in.op(o)
}

func (in *Insn) push(src Reg) {
	in.addImm(rsp, -8)
	in.op(Operation{Code: OpStore, Width: 8, Dst: src, A: rsp, B: RegNone})
}

func (in *Insn) pop(dst Reg) {
	in.op(Operation{Code: OpLoad, Width: 8, Dst: dst, A: rsp, B: RegNone})
	in.addImm(rsp, 8)
}

// unknown makes the registers unknown that an unmodelled instruction may write.
func (x *amd64Insn) unknown(in *Insn) {
	if !x.hasModRM {
		return
	}
	in.killVector(uint32(x.reg()))
	in.kill(x.reg())
	if !x.isMem() { // else nearly always a load
		in.kill(x.rm())
	}
}

func (x *amd64Insn) oneByte(pc uint64, in *Insn) {
	next := pc + uint64(x.length)
	b, width := x.op, x.width()
	switch {
	case b < 0x40:
		x.arithmetic(in)
	case b >= 0x50 && b <= 0x57: // push
		in.push(x.opcodeReg())
	case b >= 0x58 && b <= 0x5f: // pop
		in.pop(x.opcodeReg())
	case b >= 0x70 && b <= 0x7f, b >= 0xe0 && b <= 0xe3: // jcc, loop, jrcxz
		in.Flow, in.Target = FlowBranch, next+uint64(x.imm)
	case b >= 0x90 && b <= 0x97: // xchg, nop
		if b != 0x90 || x.rex&1 != 0 {
			in.kill(rax)
			in.kill(x.opcodeReg())
		}
	case b >= 0xb0 && b <= 0xb7: // mov
		in.kill(x.opcodeReg())
	case b >= 0xb8 && b <= 0xbf: // mov
		x.setImm(in, x.opcodeReg(), width)
	default:
		x.oneByteOther(next, in)
	}
}

func (x *amd64Insn) oneByteOther(next uint64, in *Insn) {
	width := x.width()
	switch x.op {
	case 0x63: // movsxd
		in.op(Operation{Code: OpExtend, Width: 4, Dst: x.reg(), A: x.source(in, 4), Imm: 1})
	case 0x68, 0x6a: // push
		in.addImm(rsp, -8)
		in.op(Operation{Code: OpStoreImm, Width: 8, A: rsp, B: RegNone, Imm: x.imm})
	case 0x69, 0x6b, 0x8a: // imul, mov of a byte
		in.kill(x.reg())
	case 0x80:
		if x.ext() != 7 { // cmp
			x.killRM(in, 1)
		}
	case 0x81, 0x83:
		x.arithmeticImmediate(in, width)
	case 0x84, 0x85, 0xa8, 0xa9, 0x8e: // test, mov to a segment register
	case 0x86, 0x87: // xchg
		in.kill(x.reg())
		x.killRM(in, 8)
	case 0x88:
		x.store(in, x.reg(), 1)
	case 0x89:
		x.store(in, x.reg(), width)
	case 0x8b:
		if width == 2 {
			in.kill(x.reg())
		} else {
			x.load(in, x.reg(), width)
		}
	case 0x8d: // lea
		in.op(x.mem(OpAdd, width, x.reg()))
	case 0x8f: // pop
		x.killRM(in, 8)
		in.addImm(rsp, 8)
	case 0x8c: // mov from a segment register
		x.killRM(in, 2)
	case 0x98:
		if x.w() { // cdqe
			in.op(Operation{Code: OpExtend, Width: 4, Dst: rax, A: rax, Imm: 1})
		} else {
			in.kill(rax)
		}
	case 0x99, 0x9f, 0xe4, 0xe5, 0xec, 0xed, 0xa0, 0xa1: // cdq, lahf, in, mov from an absolute address
		in.kill(rax)
		if x.op == 0x99 {
			in.kill(rdx)
		}
	case 0xa4, 0xa5, 0xaa, 0xab: // movs, stos
		x.stringOp(in)
	case 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3:
		x.shiftRM(in, width)
	case 0xc2, 0xc3, 0xca, 0xcb: // ret
		in.Flow = FlowReturn
	case 0xc6:
		if x.isMem() {
			x.storeImm(in, 1, x.imm)
		} else {
			in.kill(x.rm())
		}
	case 0xc7:
		if x.isMem() {
			x.storeImm(in, width, x.imm)
		} else {
			x.setImm(in, x.rm(), width)
		}
	case 0xc9: // leave
		in.mov(8, rsp, rbp)
		in.pop(rbp)
	case 0xcc, 0xf4, 0xcd: // int3, hlt, int
		in.Flow = FlowStop
	case 0xe8:
		in.Flow, in.Target = FlowCall, next+uint64(x.imm)
	case 0xe9, 0xeb:
		in.Flow, in.Target = FlowJump, next+uint64(x.imm)
	case 0xf6, 0xf7:
		x.group3(in, width)
	case 0xfe: // inc, dec
		x.killRM(in, 1)
	case 0xff:
		x.group5(in)
	}
}

// setImm is mov of an immediate to a register.
func (x *amd64Insn) setImm(in *Insn, dst Reg, width uint8) {
	imm := x.imm
	if width == 4 {
		imm = int64(uint32(imm))
	}
	in.op(Operation{Code: OpConst, Width: max(width, 4), Dst: dst, Imm: imm})
}

// group3 decodes the opcodes f6 and f7.
func (x *amd64Insn) group3(in *Insn, width uint8) {
	switch x.ext() {
	case 2, 3: // not, neg
		switch r := x.rm(); {
		case x.isMem() || width < 4:
			x.killRM(in, width)
		case x.ext() == 2:
			in.op(Operation{Code: OpXor, Width: width, Dst: r, A: r, B: RegNone, Imm: -1})
		default:
			in.op(Operation{Code: OpSub, Width: width, Dst: r, A: RegZero, B: r})
		}
	case 4, 5, 6, 7: // mul, imul, div, idiv
		in.kill(rax)
		in.kill(rdx)
	}
}

// group5 decodes the opcode ff.
func (x *amd64Insn) group5(in *Insn) {
	switch x.ext() {
	case 0, 1: // inc, dec
		x.killRM(in, x.width())
	case 2, 4: // call, jmp
		in.Flow = FlowCallIndirect
		if x.ext() == 4 {
			in.Flow = FlowJumpIndirect
		}
		if x.isMem() {
			in.CalleeMem, in.Mem = true, x.mem(OpLoad, 8, RegNone)
		} else {
			in.Callee = x.rm()
		}
	case 3, 5: // far call, far jmp
		in.Flow = FlowStop
	case 6: // push
		x.load(in, amd64Scratch, 8)
		in.push(amd64Scratch)
	}
}

func amd64EntersKernel(b []byte) bool { return bytes.Contains(b, []byte{0x0f, 0x05}) }
