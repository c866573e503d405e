package elfcaps

// decodeAMD64 decodes one 64-bit x86 instruction.
func decodeAMD64(code []byte, pc uint64, in *insn) bool {
	var x amd64Insn
	if !x.parse(code, pc) {
		return false
	}
	*in = insn{length: x.length}
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

func (x *amd64Insn) mem(code opcode, width uint8, r reg) operation {
	o := operation{code: code, width: width, dst: r, a: x.base, b: x.index, shift: x.shift, imm: x.disp}
	if x.segment {
		o.a = regNone
		if x.thread && x.index == regNone && x.space != 5 {
			if x.base != regZero {
				o.b, o.shift = x.base, 0
			} else if code == opLoad && width == 8 && x.disp == 0 { // the pointer is kept where it points
				return operation{code: opMov, width: 8, dst: r, a: regThread, b: regNone}
			}
			o.a = regThread
		}
	}
	return o
}

// load puts the operand rm into dst, store puts src into it.
func (x *amd64Insn) load(in *insn, dst reg, width uint8) {
	if x.isMem() {
		in.op(x.mem(opLoad, width, dst))
		return
	}
	in.op(operation{code: opMov, width: width, dst: dst, a: reg(x.rm())})
}

func (x *amd64Insn) store(in *insn, src reg, width uint8) {
	if x.isMem() {
		in.op(x.mem(opStore, width, src))
		return
	}
	if width < 4 {
		in.kill(reg(x.rm())) // part of a register
		return
	}
	in.op(operation{code: opMov, width: width, dst: reg(x.rm()), a: src})
}

// killRM makes the operand rm unknown.
func (x *amd64Insn) killRM(in *insn, width uint8) {
	if x.isMem() {
		in.op(x.mem(opStore, width, regNone))
		return
	}
	in.kill(reg(x.rm()))
}

// unknown stands for an instruction that is not modelled: whatever it might
// write is unknown.
func (x *amd64Insn) unknown(in *insn) {
	if !x.hasModRM {
		return
	}
	in.kill(vectorLow(uint32(x.reg())))
	in.kill(vectorHigh(uint32(x.reg())))
	in.kill(reg(x.reg()))
	if x.isMem() {
		return // a read, as nearly all of these are
	}
	in.kill(reg(x.rm()))
}

func (x *amd64Insn) oneByte(pc uint64, in *insn) {
	next := pc + uint64(x.length)
	b, width := x.op, x.width()
	switch {
	case b < 0x40:
		x.arithmetic(in)
	case b >= 0x50 && b <= 0x57:
		src := reg(b&7 | x.rex<<3&8)
		in.op(operation{code: opAdd, width: 8, dst: 4, a: 4, b: regNone, imm: -8})
		in.op(operation{code: opStore, width: 8, dst: src, a: 4, b: regNone})
	case b >= 0x58 && b <= 0x5f:
		in.op(operation{code: opLoad, width: 8, dst: reg(b&7 | x.rex<<3&8), a: 4, b: regNone})
		in.op(operation{code: opAdd, width: 8, dst: 4, a: 4, b: regNone, imm: 8})
	case b >= 0x70 && b <= 0x7f, b >= 0xe0 && b <= 0xe3:
		in.flow, in.target = flowBranch, next+uint64(x.imm)
	case b >= 0x90 && b <= 0x97:
		if b != 0x90 || x.rex&1 != 0 {
			in.kill(0)
			in.kill(reg(b&7 | x.rex<<3&8))
		}
	case b >= 0xb0 && b <= 0xb7:
		in.kill(reg(b&7 | x.rex<<3&8))
	case b >= 0xb8 && b <= 0xbf:
		imm := x.imm
		if width == 4 {
			imm = int64(uint32(imm))
		}
		in.op(operation{code: opConst, width: max(width, 4), dst: reg(b&7 | x.rex<<3&8), imm: imm})
	default:
		x.oneByteOther(next, in)
	}
}

func (x *amd64Insn) oneByteOther(next uint64, in *insn) {
	width := x.width()
	switch x.op {
	case 0x63:
		if x.isMem() {
			in.op(x.mem(opLoad, 4, reg(x.reg())))
			in.op(operation{code: opExtend, width: 4, dst: reg(x.reg()), a: reg(x.reg()), imm: 1})
			return
		}
		in.op(operation{code: opExtend, width: 4, dst: reg(x.reg()), a: reg(x.rm()), imm: 1})
	case 0x68, 0x6a:
		in.op(operation{code: opAdd, width: 8, dst: 4, a: 4, b: regNone, imm: -8})
		in.op(operation{code: opStoreImm, width: 8, a: 4, b: regNone, imm: x.imm})
	case 0x69, 0x6b:
		in.kill(reg(x.reg()))
	case 0x80:
		if x.modrm>>3&7 != 7 {
			x.killRM(in, 1)
		}
	case 0x81, 0x83:
		x.arithmeticImmediate(in, width)
	case 0x84, 0x85, 0xa8, 0xa9, 0x8e:
	case 0x86, 0x87:
		in.kill(reg(x.reg()))
		x.killRM(in, 8)
	case 0x88:
		x.store(in, reg(x.reg()), 1)
	case 0x89:
		x.store(in, reg(x.reg()), width)
	case 0x8a:
		in.kill(reg(x.reg()))
	case 0x8b:
		if width == 2 {
			in.kill(reg(x.reg()))
			return
		}
		x.load(in, reg(x.reg()), width)
	case 0x8d:
		o := x.mem(opAdd, width, reg(x.reg()))
		in.op(o)
	case 0x8f:
		x.killRM(in, 8)
		in.op(operation{code: opAdd, width: 8, dst: 4, a: 4, b: regNone, imm: 8})
	case 0x8c:
		x.killRM(in, 2)
	case 0x98:
		if x.w() { // cdqe
			in.op(operation{code: opExtend, width: 4, dst: 0, a: 0, imm: 1})
			return
		}
		in.kill(0)
	case 0x99, 0x9f, 0xe4, 0xe5, 0xec, 0xed, 0xa0, 0xa1:
		in.kill(0)
		if x.op == 0x99 {
			in.kill(2)
		}
	case 0xa4, 0xa5, 0xaa, 0xab:
		x.repeat(in)
	case 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3:
		x.shiftRM(in, width)
	case 0xc2, 0xc3, 0xca, 0xcb:
		in.flow = flowReturn
	case 0xc6:
		if x.isMem() {
			o := x.mem(opStoreImm, 1, 0)
			o.disp, o.imm = o.imm, x.imm
			in.op(o)
			return
		}
		in.kill(reg(x.rm()))
	case 0xc7:
		if x.isMem() {
			o := x.mem(opStoreImm, width, 0)
			o.disp, o.imm = o.imm, x.imm
			in.op(o)
			return
		}
		imm := x.imm
		if width == 4 {
			imm = int64(uint32(imm))
		}
		in.op(operation{code: opConst, width: max(width, 4), dst: reg(x.rm()), imm: imm})
	case 0xc9:
		in.op(operation{code: opMov, width: 8, dst: 4, a: 5})
		in.op(operation{code: opLoad, width: 8, dst: 5, a: 4, b: regNone})
		in.op(operation{code: opAdd, width: 8, dst: 4, a: 4, b: regNone, imm: 8})
	case 0xcc, 0xf4, 0xcd:
		in.flow = flowStop
	case 0xe8:
		in.flow, in.target = flowCall, next+uint64(x.imm)
	case 0xe9, 0xeb:
		in.flow, in.target = flowJump, next+uint64(x.imm)
	case 0xf6, 0xf7:
		switch x.modrm >> 3 & 7 {
		case 2, 3:
			if x.isMem() || width < 4 {
				x.killRM(in, width)
				return
			}
			r := reg(x.rm())
			if x.modrm>>3&7 == 2 {
				in.op(operation{code: opXor, width: width, dst: r, a: r, b: regNone, imm: -1})
			} else {
				in.op(operation{code: opSub, width: width, dst: r, a: regZero, b: r})
			}
		case 4, 5, 6, 7:
			in.kill(0)
			in.kill(2)
		}
	case 0xfe:
		x.killRM(in, 1)
	case 0xff:
		x.group5(in)
	}
}

func (x *amd64Insn) group5(in *insn) {
	switch x.modrm >> 3 & 7 {
	case 0, 1:
		x.killRM(in, x.width())
	case 2, 4:
		in.flow = flowCallIndirect
		if x.modrm>>3&7 == 4 {
			in.flow = flowJumpIndirect
		}
		if x.isMem() {
			in.calleeMem, in.mem = true, x.mem(opLoad, 8, regNone)
		} else {
			in.callee = reg(x.rm())
		}
	case 3, 5:
		in.flow = flowStop
	case 6:
		if x.isMem() {
			in.op(x.mem(opLoad, 8, regScratch))
		} else {
			in.op(operation{code: opMov, width: 8, dst: regScratch, a: reg(x.rm())})
		}
		in.op(operation{code: opAdd, width: 8, dst: 4, a: 4, b: regNone, imm: -8})
		in.op(operation{code: opStore, width: 8, dst: regScratch, a: 4, b: regNone})
	}
}
