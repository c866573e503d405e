package isa

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// decodeARM64 decodes one A64 instruction (Arm ARM, chapter C4).
func decodeARM64(code []byte, pc uint64, in *Insn) bool {
	if len(code) < 4 {
		return false
	}
	w := binary.LittleEndian.Uint32(code)
	*in = Insn{Length: 4}
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
			in.Flow = FlowStop // udf
			return true
		}
		return false
	default: // SVE, unallocated
		in.killVector(w & 31)
	}
	return true
}

// arm64SP returns the register of a field that encodes SP as 31, arm64ZR that of a
// field that encodes the zero register as 31.
func arm64SP(n uint32) Reg { return Reg(n & 31) }
func arm64ZR(n uint32) Reg {
	if n&31 == 31 {
		return RegZero
	}
	return Reg(n & 31)
}

func arm64Width(w uint32) uint8 { return 4 + uint8(w>>31)*4 }

// SignExtend returns the value of the n-bit two's complement number v.
func SignExtend(v uint64, n uint) int64 { return int64(v<<(64-n)) >> (64 - n) }

func arm64Immediate(w uint32, pc uint64, in *Insn) {
	width := arm64Width(w)
	rd, rn, op := arm64ZR(w), w>>5&31, w>>29&3
	switch w >> 23 & 7 {
	case 0, 1: // adr, adrp
		imm := SignExtend(uint64(w>>5&0x7ffff)<<2|uint64(w>>29&3), 21)
		v := pc + uint64(imm)
		if w>>31 == 1 {
			v = pc&^0xfff + uint64(imm<<12)
		}
		in.op(Operation{Code: OpConst, Width: 8, Dst: rd, Imm: int64(v)})
	case 2: // add, sub (immediate)
		imm := int64(w >> 10 & 0xfff)
		if w>>22&1 == 1 {
			imm <<= 12
		}
		if w>>30&1 == 1 {
			imm = -imm
		}
		dst := arm64SP(w)
		if op&1 == 1 {
			dst = rd // adds, subs
		}
		in.op(Operation{Code: OpAdd, Width: width, Dst: dst, A: arm64SP(rn), B: RegNone, Imm: imm})
	case 4: // logical (immediate)
		imm, ok := arm64BitMask(w)
		if !ok {
			in.kill(rd)
			return
		}
		code, dst := [4]Opcode{OpAnd, OpOr, OpXor, OpAnd}[op], arm64SP(w)
		if op == 3 {
			dst = rd // ands
		}
		in.op(Operation{Code: code, Width: width, Dst: dst, A: arm64ZR(rn), B: RegNone, Imm: int64(imm)})
	case 5: // movn, movz, movk
		imm, shift := uint64(w>>5&0xffff), uint8(w>>21&3)*16
		o := Operation{Code: OpConst, Width: width, Dst: rd, Imm: int64(imm << shift)}
		switch op {
		case 0: // movn
			o.Imm = ^o.Imm
		case 1: // unallocated
			o.Code = OpKill
		case 3: // movk
			o.Code, o.Shift, o.Imm = OpInsert, shift, int64(imm)
		}
		in.op(o)
	case 6: // bitfield moves
		immr, imms := int64(w>>16&63), int64(w>>10&63)
		top := int64(width)*8 - 1
		o := Operation{Width: width, Dst: rd, A: arm64ZR(rn), B: RegNone}
		switch {
		case op == 2 && imms == top: // lsr
			o.Code, o.Imm = OpShr, immr
		case op == 0 && imms == top: // asr
			o.Code, o.Imm = OpSar, immr
		case op == 2 && imms+1 == immr: // lsl
			o.Code, o.Imm = OpShl, top-imms
		case op != 1 && immr == 0 && (imms == 7 || imms == 15 || imms == 31): // extensions
			o.Code, o.Width = OpExtend, uint8(imms+1)/8
			if op == 0 {
				o.Imm = 1
			}
		case op == 1 && width == 8 && immr != 0 && immr <= 32 && imms < immr: // bfi into the upper half
			o.Code = OpKeepLow
		default:
			o.Code = OpKill
		}
		in.op(o)
	default:
		in.kill(rd)
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

func arm64Branch(w uint32, pc uint64, in *Insn) bool {
	switch {
	case w>>26 == 0b000101: // b
		in.Flow, in.Target = FlowJump, pc+uint64(SignExtend(uint64(w&0x3ffffff), 26)<<2)
	case w>>26 == 0b100101: // bl
		in.Flow, in.Target = FlowCall, pc+uint64(SignExtend(uint64(w&0x3ffffff), 26)<<2)
	case w>>24 == 0b01010100 || w>>25&0x3f == 0b011010: // b.cond, cbz, cbnz
		in.Flow, in.Target = FlowBranch, pc+uint64(SignExtend(uint64(w>>5&0x7ffff), 19)<<2)
	case w>>25&0x3f == 0b011011: // tbz, tbnz
		in.Flow, in.Target = FlowBranch, pc+uint64(SignExtend(uint64(w>>5&0x3fff), 14)<<2)
	case w&0xffe0001f == 0xd4000001: // svc
		in.Flow = FlowSyscall
	case w>>24 == 0xd4: // brk, hlt, hvc, smc
		in.Flow = FlowStop
	case w>>25 == 0b1101011: // unconditional branch (register)
		in.Callee = arm64ZR(w >> 5)
		switch w >> 21 & 15 {
		case 0, 8: // br
			in.Flow = FlowJumpIndirect
		case 1, 9: // blr
			in.Flow = FlowCallIndirect
		case 2, 4, 5: // ret, eret, drps
			in.Flow = FlowReturn
		default:
			return false
		}
	case w>>22 == 0b1101010100: // system
		switch {
		case w&^31 == 0xd53bd040: // mrs tpidr_el0
			in.mov(8, arm64ZR(w), RegThread)
		case w>>20&3 == 3: // mrs
			in.kill(arm64ZR(w))
		}
	default:
		return false
	}
	return true
}

func arm64Register(w uint32, in *Insn) {
	width := arm64Width(w)
	rd, rn, rm := arm64ZR(w), arm64ZR(w>>5), arm64ZR(w>>16)
	amount, shiftLeft := uint8(w>>10&63), w>>22&3 == 0
	switch {
	case w>>24&31 == 0b01010: // logical (shifted register)
		code := [4]Opcode{OpAnd, OpOr, OpXor, OpAnd}[w>>29&3]
		if w>>21&1 == 1 {
			code = [4]Opcode{OpAndNot, OpOrNot, OpKill, OpAndNot}[w>>29&3]
		}
		if !shiftLeft {
			code = OpKill
		}
		in.op(Operation{Code: code, Width: width, Shift: amount, Dst: rd, A: rn, B: rm})
	case w>>24&31 == 0b01011: // add, sub
		code := [2]Opcode{OpAdd, OpSub}[w>>30&1]
		if w>>21&1 == 1 { // extended register
			amount, rn = uint8(w>>10&7), arm64SP(w>>5)
			if w>>29&1 == 0 {
				rd = arm64SP(w)
			}
		} else if !shiftLeft {
			code = OpKill
		}
		in.op(Operation{Code: code, Width: width, Shift: amount, Dst: rd, A: rn, B: rm})
	case w>>21&0xff == 0b11010100: // conditional select
		change := int64(w>>30&1)<<1 | int64(w>>10&1)
		in.op(Operation{Code: OpSelect, Width: width, Dst: rd, A: rn, B: rm, Imm: change})
	case w>>21&0xff == 0b11010010: // conditional compare
	default:
		in.kill(rd)
	}
}

// arm64EntersKernel searches for svc with any immediate. It ignores the alignment.
func arm64EntersKernel(b []byte) bool {
	for i := 3; i < len(b); i++ {
		k := bytes.IndexByte(b[i:], 0xd4)
		if k < 0 {
			return false
		}
		i += k
		if b[i-3]&0x1f == 0x01 && b[i-1]&0xe0 == 0 {
			return true
		}
	}
	return false
}
