package isa

// arm64Vector decodes the moves and constants of vector registers.
func arm64Vector(w uint32, in *Insn) {
	rd, rn, full := w&31, w>>5&31, w>>30&1
	lo, hi := vectorLow(rd), vectorHigh(rd)
	switch {
	case w>>19&0x1ff == 0b011110000 && w>>10&1 == 1 && w>>31 == 0: // modified immediate
		v, ok := arm64VectorImmediate(w)
		if !ok {
			in.killVector(rd)
			return
		}
		in.op(Operation{Code: OpConst, Width: 8, Dst: lo, Imm: int64(v)})
		in.op(Operation{Code: OpConst, Width: 8, Dst: hi, Imm: int64(v * uint64(full))})
	case w&0x7f20fc00 == 0x1e200000: // between general and floating registers
		arm64FMov(w, in)
	case w&0xff3ffc00 == 0x1e204000: // fmov between floating registers
		in.mov(8, lo, vectorLow(rn))
		in.clear(hi)
	case w&0xbfe0fc00 == 0x0ea01c00 && w>>16&31 == rn: // mov (orr) of a whole vector
		in.mov(8, lo, vectorLow(rn))
		in.mov(8, hi, [2]Reg{RegZero, vectorHigh(rn)}[full])
	case w&0x9fe0fc00 == 0x0e000c00 && w>>16&15 == 8: // dup from a general register
		in.mov(8, lo, arm64ZR(rn))
		in.mov(8, hi, [2]Reg{RegZero, lo}[full])
	case w&0x9fe0fc00 == 0x0e000c00 && w>>16&7 == 4:
		in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: arm64ZR(rn), B: arm64ZR(rn)})
		in.mov(8, hi, [2]Reg{RegZero, lo}[full])
	case w&0xffe0fc00 == 0x4e001c00: // ins from a general register
		arm64Ins(w, in)
	case w&0xbfe0fc00 == 0x0e003c00: // umov to a general register
		arm64UMov(w, in)
	case w&0xbfe0fc00 == 0x0e002c00: // smov
		in.kill(arm64ZR(rd))
	default:
		in.killVector(rd)
	}
}

// arm64FMov decodes fmov between general and floating registers.
func arm64FMov(w uint32, in *Insn) {
	rd, rn := w&31, w>>5&31
	width := arm64Width(w)
	switch w >> 16 & 0x1f {
	case 0b00110: // to general
		in.mov(width, arm64ZR(rd), vectorLow(rn))
	case 0b00111: // from general
		in.mov(width, vectorLow(rd), arm64ZR(rn))
		in.clear(vectorHigh(rd))
	case 0b01111: // from general to the high half
		in.mov(8, vectorHigh(rd), arm64ZR(rn))
	case 0b01110: // from the high half to general
		in.mov(8, arm64ZR(rd), vectorHigh(rn))
	default:
		in.kill(arm64ZR(rd))
		in.killVector(rd)
	}
}

// arm64Half returns the half of vector register n with the element of ins and umov.
func arm64Half(w, n uint32) Reg { return vectorLow(n) + Reg(w>>20&1) }

// arm64Ins decodes ins of a general register into a vector element.
func arm64Ins(w uint32, in *Insn) {
	rn, half := arm64ZR(w>>5), arm64Half(w, w&31)
	switch w >> 16 & 15 {
	case 8:
		in.mov(8, half, rn)
	case 12:
		in.op(Operation{Code: OpConcat, Width: 8, Dst: half, A: half, B: rn})
	default:
		in.kill(half)
	}
}

// arm64UMov decodes umov of a vector element to a general register.
func arm64UMov(w uint32, in *Insn) {
	rd, half, imm := arm64ZR(w), arm64Half(w, w>>5&31), w>>16&15
	switch {
	case imm == 8 && w>>30&1 == 1:
		in.mov(8, rd, half)
	case imm == 4:
		in.mov(4, rd, half)
	case imm == 12:
		in.op(Operation{Code: OpShr, Width: 8, Dst: rd, A: half, Imm: 32})
	default:
		in.kill(rd)
	}
}

// arm64VectorImmediate decodes movi and mvni (AdvSIMDExpandImm).
func arm64VectorImmediate(w uint32) (uint64, bool) {
	imm := uint64(w>>16&7<<5 | w>>5&31)
	invert := w>>29&1 == 1
	cmode := w >> 12 & 15
	var v uint64
	switch {
	case cmode < 8 && cmode&1 == 0: // 32-bit shifted
		v = imm << (8 * (cmode >> 1))
		v |= v << 32
	case cmode >= 8 && cmode < 12 && cmode&1 == 0: // 16-bit shifted
		v = imm << (8 * (cmode >> 1 & 1)) * 0x0001000100010001
	case cmode == 12:
		v = imm<<8 | 0xff
		v |= v << 32
	case cmode == 13:
		v = imm<<16 | 0xffff
		v |= v << 32
	case cmode == 14 && !invert:
		return imm * 0x0101010101010101, true
	case cmode == 14:
		for i := range 8 {
			if imm>>i&1 == 1 {
				v |= 0xff << (8 * i)
			}
		}
		return v, true
	default: // orr, bic and floating constants
		return 0, false
	}
	if invert {
		v = ^v
	}
	return v, true
}
