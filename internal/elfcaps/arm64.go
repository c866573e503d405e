package elfcaps

import "math/bits"

// decodeARM64 decodes one A64 instruction (Arm ARM, DDI 0487, chapter C4).
func decodeARM64(code []byte, pc uint64, in *insn) bool {
	if len(code) < 4 {
		return false
	}
	w := le.Uint32(code)
	*in = insn{length: 4}
	switch w >> 25 & 15 {
	case 0b1000, 0b1001:
		arm64Immediate(w, pc, in)
	case 0b1010, 0b1011:
		return arm64Branch(w, pc, in)
	case 0b0100, 0b0110, 0b1100, 0b1110:
		arm64Memory(w, pc, in)
	case 0b0101, 0b1101:
		arm64Register(w, in)
	case 0b0111, 0b1111:
		arm64Vector(w, in)
	case 0:
		if w>>16 == 0 {
			in.flow = flowStop // udf
			return true
		}
		return false
	default: // SVE and what is not allocated: nothing here reads it
		in.kill(vectorLow(w & 31))
		in.kill(vectorHigh(w & 31))
	}
	return true
}

// arm64SP is register n where 31 means SP, arm64ZR where it means zero.
func arm64SP(n uint32) reg { return reg(n & 31) }
func arm64ZR(n uint32) reg {
	if n&31 == 31 {
		return regZero
	}
	return reg(n & 31)
}

func arm64Width(w uint32) uint8 { return 4 + uint8(w>>31)*4 }

func signExtend(v uint64, n uint) int64 { return int64(v<<(64-n)) >> (64 - n) }

func arm64Immediate(w uint32, pc uint64, in *insn) {
	width := arm64Width(w)
	rd, rn := w&31, w>>5&31
	switch w >> 23 & 7 {
	case 0, 1: // adr, adrp
		imm := signExtend(uint64(w>>5&0x7ffff)<<2|uint64(w>>29&3), 21)
		v := pc + uint64(imm)
		if w>>31 == 1 {
			v = pc&^0xfff + uint64(imm<<12)
		}
		in.op(operation{code: opConst, width: 8, dst: arm64ZR(rd), imm: int64(v)})
	case 2: // add, sub (immediate)
		imm := int64(w >> 10 & 0xfff)
		if w>>22&1 == 1 {
			imm <<= 12
		}
		if w>>30&1 == 1 {
			imm = -imm
		}
		dst := arm64SP(rd)
		if w>>29&1 == 1 {
			dst = arm64ZR(rd) // sets flags: 31 is the zero register
		}
		in.op(operation{code: opAdd, width: width, dst: dst, a: arm64SP(rn), b: regNone, imm: imm})
	case 4: // logical (immediate)
		imm, ok := arm64BitMask(w)
		if !ok {
			in.kill(arm64ZR(rd))
			return
		}
		code, dst := [4]opcode{opAnd, opOr, opXor, opAnd}[w>>29&3], arm64SP(rd)
		if w>>29&3 == 3 {
			dst = arm64ZR(rd)
		}
		in.op(operation{code: code, width: width, dst: dst, a: arm64ZR(rn), b: regNone, imm: int64(imm)})
	case 5: // movn, movz, movk
		imm, shift := uint64(w>>5&0xffff), uint8(w>>21&3)*16
		switch w >> 29 & 3 {
		case 0:
			in.op(operation{code: opConst, width: width, dst: arm64ZR(rd), imm: int64(^(imm << shift))})
		case 2:
			in.op(operation{code: opConst, width: width, dst: arm64ZR(rd), imm: int64(imm << shift)})
		case 3:
			in.op(operation{code: opInsert, width: width, shift: shift, dst: arm64ZR(rd), imm: int64(imm)})
		default:
			in.kill(arm64ZR(rd))
		}
	case 6: // bitfield moves
		immr, imms := int64(w>>16&63), int64(w>>10&63)
		top := int64(width)*8 - 1
		o := operation{width: width, dst: arm64ZR(rd), a: arm64ZR(rn), b: regNone}
		switch op := w >> 29 & 3; {
		case op == 2 && imms == top:
			o.code, o.imm = opShr, immr
		case op == 0 && imms == top:
			o.code, o.imm = opSar, immr
		case op == 2 && imms+1 == immr:
			o.code, o.imm = opShl, top-imms
		case op != 1 && immr == 0 && (imms == 7 || imms == 15 || imms == 31):
			o.code, o.width = opExtend, uint8(imms+1)/8
			if op == 0 {
				o.imm = 1
			}
		case op == 1 && width == 8 && immr != 0 && immr <= 32 && imms < immr: // bfi into the upper half
			o.code = opKeepLow
		default:
			o.code = opKill
		}
		in.op(o)
	default:
		in.kill(arm64ZR(rd))
	}
}

// arm64BitMask decodes the immediate of a logical instruction (DecodeBitMasks).
func arm64BitMask(w uint32) (uint64, bool) {
	n, immr, imms := w>>22&1, w>>16&63, w>>10&63
	length := 31 - bits.LeadingZeros32(n<<6|^imms&63)
	if length < 1 {
		return 0, false
	}
	size := uint32(1) << length
	s, r := imms&(size-1), immr&(size-1)
	if s == size-1 {
		return 0, false
	}
	pattern := uint64(1)<<(s+1) - 1
	mask := ^uint64(0) >> (64 - size)
	pattern = (pattern>>r | pattern<<(size-r)) & mask
	for ; size < 64; size *= 2 {
		pattern |= pattern << size
	}
	return pattern, true
}

func arm64Branch(w uint32, pc uint64, in *insn) bool {
	switch {
	case w>>26 == 0b000101:
		in.flow, in.target = flowJump, pc+uint64(signExtend(uint64(w&0x3ffffff), 26)<<2)
	case w>>26 == 0b100101:
		in.flow, in.target = flowCall, pc+uint64(signExtend(uint64(w&0x3ffffff), 26)<<2)
	case w>>24 == 0b01010100 || w>>25&0x3f == 0b011010: // b.cond, cbz, cbnz
		in.flow, in.target = flowBranch, pc+uint64(signExtend(uint64(w>>5&0x7ffff), 19)<<2)
	case w>>25&0x3f == 0b011011: // tbz, tbnz
		in.flow, in.target = flowBranch, pc+uint64(signExtend(uint64(w>>5&0x3fff), 14)<<2)
	case w&0xffe0001f == 0xd4000001:
		in.flow = flowSyscall
	case w>>24 == 0xd4: // brk, hlt, hvc, smc
		in.flow = flowStop
	case w>>25 == 0b1101011: // unconditional branch (register)
		in.callee = arm64ZR(w >> 5)
		switch w >> 21 & 15 {
		case 0, 8:
			in.flow = flowJumpIndirect
		case 1, 9:
			in.flow = flowCallIndirect
		case 2, 4, 5:
			in.flow = flowReturn
		default:
			return false
		}
	case w>>22 == 0b1101010100: // system: only mrs writes a register
		switch {
		case w&^31 == 0xd53bd040: // tpidr_el0
			in.op(operation{code: opMov, width: 8, dst: arm64ZR(w), a: regThread, b: regNone})
		case w>>20&3 == 3:
			in.kill(arm64ZR(w))
		}
	default:
		return false
	}
	return true
}

func arm64Register(w uint32, in *insn) {
	width := arm64Width(w)
	rd, rn, rm := arm64ZR(w), arm64ZR(w>>5), arm64ZR(w>>16)
	amount, shiftLeft := uint8(w>>10&63), w>>22&3 == 0
	switch {
	case w>>24&31 == 0b01010: // logical (shifted register)
		code := [4]opcode{opAnd, opOr, opXor, opAnd}[w>>29&3]
		if w>>21&1 == 1 {
			code = [4]opcode{opAndNot, opOrNot, opKill, opAndNot}[w>>29&3]
		}
		if !shiftLeft {
			code = opKill
		}
		in.op(operation{code: code, width: width, shift: amount, dst: rd, a: rn, b: rm})
	case w>>24&31 == 0b01011: // add, sub
		code := opAdd
		if w>>30&1 == 1 {
			code = opSub
		}
		if w>>21&1 == 1 { // extended register
			amount = uint8(w >> 10 & 7)
			dst := arm64SP(w)
			if w>>29&1 == 1 {
				dst = rd
			}
			in.op(operation{code: code, width: width, shift: amount, dst: dst, a: arm64SP(w >> 5), b: rm})
			return
		}
		if !shiftLeft {
			code = opKill
		}
		in.op(operation{code: code, width: width, shift: amount, dst: rd, a: rn, b: rm})
	case w>>21&0xff == 0b11010100: // conditional select
		change := int64(w>>30&1)<<1 | int64(w>>10&1)
		in.op(operation{code: opEither, width: width, dst: rd, a: rn, b: rm, imm: change})
	case w>>21&0xff == 0b11010010: // conditional compare writes flags only
	default:
		in.kill(rd)
	}
}
