package isa

import "bytes"

// decodeAMD64 decodes one 64-bit x86 instruction.
func decodeAMD64(code []byte, pc uint64, in *Insn) bool {
	var x amd64Insn
	if !x.parse(code, pc) {
		return false
	}
	*in = Insn{Length: x.length}
	switch {
	case x.space == 1:
		x.oneByte(pc, in)
	case x.space == 2:
		x.twoByte(pc, in)
	case x.space == 4 && x.op == 0x22 && x.opsize:
		x.insert(in)
	default:
		x.unknown(in)
	}
	return true
}

func (x *amd64Insn) mem(code Opcode, width uint8, r Reg) Operation {
	o := Operation{Code: code, Width: width, Dst: r, A: x.base, B: x.index, Shift: x.shift, Imm: x.disp}
	if x.segment {
		o.A = RegNone
		if x.thread && x.index == RegNone && x.space != 5 {
			if x.base != RegZero {
				o.B, o.Shift = x.base, 0
			} else if code == OpLoad && width == 8 && x.disp == 0 { // the pointer is kept where it points
				return Operation{Code: OpMov, Width: 8, Dst: r, A: RegThread, B: RegNone}
			}
			o.A = RegThread
		}
	}
	return o
}

// load puts the operand rm into dst, store puts src into it.
func (x *amd64Insn) load(in *Insn, dst Reg, width uint8) {
	if x.isMem() {
		in.op(x.mem(OpLoad, width, dst))
		return
	}
	in.op(Operation{Code: OpMov, Width: width, Dst: dst, A: Reg(x.rm())})
}

func (x *amd64Insn) store(in *Insn, src Reg, width uint8) {
	if x.isMem() {
		in.op(x.mem(OpStore, width, src))
		return
	}
	if width < 4 {
		in.kill(Reg(x.rm())) // part of a register
		return
	}
	in.op(Operation{Code: OpMov, Width: width, Dst: Reg(x.rm()), A: src})
}

// killRM makes the operand rm unknown.
func (x *amd64Insn) killRM(in *Insn, width uint8) {
	if x.isMem() {
		in.op(x.mem(OpStore, width, RegNone))
		return
	}
	in.kill(Reg(x.rm()))
}

// unknown stands for an instruction that is not modelled: whatever it might
// write is unknown.
func (x *amd64Insn) unknown(in *Insn) {
	if !x.hasModRM {
		return
	}
	in.kill(vectorLow(uint32(x.reg())))
	in.kill(vectorHigh(uint32(x.reg())))
	in.kill(Reg(x.reg()))
	if x.isMem() {
		return // a read, as nearly all of these are
	}
	in.kill(Reg(x.rm()))
}

func (x *amd64Insn) oneByte(pc uint64, in *Insn) {
	next := pc + uint64(x.length)
	b, width := x.op, x.width()
	switch {
	case b < 0x40:
		x.arithmetic(in)
	case b >= 0x50 && b <= 0x57:
		src := Reg(b&7 | x.rex<<3&8)
		in.op(Operation{Code: OpAdd, Width: 8, Dst: rsp, A: rsp, B: RegNone, Imm: -8})
		in.op(Operation{Code: OpStore, Width: 8, Dst: src, A: rsp, B: RegNone})
	case b >= 0x58 && b <= 0x5f:
		in.op(Operation{Code: OpLoad, Width: 8, Dst: Reg(b&7 | x.rex<<3&8), A: rsp, B: RegNone})
		in.op(Operation{Code: OpAdd, Width: 8, Dst: rsp, A: rsp, B: RegNone, Imm: 8})
	case b >= 0x70 && b <= 0x7f, b >= 0xe0 && b <= 0xe3:
		in.Flow, in.Target = FlowBranch, next+uint64(x.imm)
	case b >= 0x90 && b <= 0x97:
		if b != 0x90 || x.rex&1 != 0 {
			in.kill(rax)
			in.kill(Reg(b&7 | x.rex<<3&8))
		}
	case b >= 0xb0 && b <= 0xb7:
		in.kill(Reg(b&7 | x.rex<<3&8))
	case b >= 0xb8 && b <= 0xbf:
		imm := x.imm
		if width == 4 {
			imm = int64(uint32(imm))
		}
		in.op(Operation{Code: OpConst, Width: max(width, 4), Dst: Reg(b&7 | x.rex<<3&8), Imm: imm})
	default:
		x.oneByteOther(next, in)
	}
}

func (x *amd64Insn) oneByteOther(next uint64, in *Insn) {
	width := x.width()
	switch x.op {
	case 0x63: // movsxd
		src := Reg(x.rm())
		if x.isMem() {
			src = Reg(x.reg())
			in.op(x.mem(OpLoad, 4, src))
		}
		in.op(Operation{Code: OpExtend, Width: 4, Dst: Reg(x.reg()), A: src, Imm: 1})
	case 0x68, 0x6a:
		in.op(Operation{Code: OpAdd, Width: 8, Dst: rsp, A: rsp, B: RegNone, Imm: -8})
		in.op(Operation{Code: OpStoreImm, Width: 8, A: rsp, B: RegNone, Imm: x.imm})
	case 0x69, 0x6b:
		in.kill(Reg(x.reg()))
	case 0x80:
		if x.modrm>>3&7 != 7 {
			x.killRM(in, 1)
		}
	case 0x81, 0x83:
		x.arithmeticImmediate(in, width)
	case 0x84, 0x85, 0xa8, 0xa9, 0x8e:
	case 0x86, 0x87:
		in.kill(Reg(x.reg()))
		x.killRM(in, 8)
	case 0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7:
		x.move(in, width)
	case 0x8d:
		in.op(x.mem(OpAdd, width, Reg(x.reg())))
	case 0x8f:
		x.killRM(in, 8)
		in.op(Operation{Code: OpAdd, Width: 8, Dst: rsp, A: rsp, B: RegNone, Imm: 8})
	case 0x8c:
		x.killRM(in, 2)
	case 0x98:
		if x.w() { // cdqe
			in.op(Operation{Code: OpExtend, Width: 4, Dst: rax, A: rax, Imm: 1})
			return
		}
		in.kill(rax)
	case 0x99:
		in.kill(rax)
		in.kill(rdx)
	case 0x9f, 0xe4, 0xe5, 0xec, 0xed, 0xa0, 0xa1:
		in.kill(rax)
	case 0xa4, 0xa5, 0xaa, 0xab:
		x.repeat(in)
	case 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3:
		x.shiftRM(in, width)
	case 0xc2, 0xc3, 0xca, 0xcb:
		in.Flow = FlowReturn
	case 0xc9:
		in.op(Operation{Code: OpMov, Width: 8, Dst: rsp, A: rbp})
		in.op(Operation{Code: OpLoad, Width: 8, Dst: rbp, A: rsp, B: RegNone})
		in.op(Operation{Code: OpAdd, Width: 8, Dst: rsp, A: rsp, B: RegNone, Imm: 8})
	case 0xcc, 0xf4, 0xcd:
		in.Flow = FlowStop
	case 0xe8:
		in.Flow, in.Target = FlowCall, next+uint64(x.imm)
	case 0xe9, 0xeb:
		in.Flow, in.Target = FlowJump, next+uint64(x.imm)
	case 0xf6, 0xf7:
		x.group3(in, width)
	case 0xfe:
		x.killRM(in, 1)
	case 0xff:
		x.group5(in)
	}
}

// move is mov between registers, memory and immediates.
func (x *amd64Insn) move(in *Insn, width uint8) {
	if x.op&1 == 0 {
		width = 1
	}
	switch x.op {
	case 0x88, 0x89:
		x.store(in, Reg(x.reg()), width)
	case 0x8a, 0x8b:
		if width < 4 {
			in.kill(Reg(x.reg()))
			return
		}
		x.load(in, Reg(x.reg()), width)
	case 0xc6, 0xc7:
		switch {
		case x.isMem():
			o := x.mem(OpStoreImm, width, RegNone)
			o.Disp, o.Imm = o.Imm, x.imm
			in.op(o)
		case width == 1:
			in.kill(Reg(x.rm()))
		case width == 4:
			in.op(Operation{Code: OpConst, Width: 4, Dst: Reg(x.rm()), Imm: int64(uint32(x.imm))})
		default:
			in.op(Operation{Code: OpConst, Width: max(width, 4), Dst: Reg(x.rm()), Imm: x.imm})
		}
	}
}

// group3 is not, neg, mul and div.
func (x *amd64Insn) group3(in *Insn, width uint8) {
	switch kind := x.modrm >> 3 & 7; kind {
	case 2, 3:
		if x.isMem() || width < 4 {
			x.killRM(in, width)
			return
		}
		r := Reg(x.rm())
		if kind == 2 {
			in.op(Operation{Code: OpXor, Width: width, Dst: r, A: r, B: RegNone, Imm: -1})
		} else {
			in.op(Operation{Code: OpSub, Width: width, Dst: r, A: RegZero, B: r})
		}
	case 4, 5, 6, 7:
		in.kill(rax)
		in.kill(rdx)
	}
}

func (x *amd64Insn) group5(in *Insn) {
	switch x.modrm >> 3 & 7 {
	case 0, 1:
		x.killRM(in, x.width())
	case 2, 4:
		in.Flow = FlowCallIndirect
		if x.modrm>>3&7 == 4 {
			in.Flow = FlowJumpIndirect
		}
		if x.isMem() {
			in.CalleeMem, in.Mem = true, x.mem(OpLoad, 8, RegNone)
		} else {
			in.Callee = Reg(x.rm())
		}
	case 3, 5:
		in.Flow = FlowStop
	case 6:
		if x.isMem() {
			in.op(x.mem(OpLoad, 8, regScratch))
		} else {
			in.op(Operation{Code: OpMov, Width: 8, Dst: regScratch, A: Reg(x.rm())})
		}
		in.op(Operation{Code: OpAdd, Width: 8, Dst: rsp, A: rsp, B: RegNone, Imm: -8})
		in.op(Operation{Code: OpStore, Width: 8, Dst: regScratch, A: rsp, B: RegNone})
	}
}

func amd64EntersKernel(b []byte) bool { return bytes.Contains(b, []byte{0x0f, 0x05}) }
