package isa

// arm64Memory decodes loads and stores.
func arm64Memory(w uint32, pc uint64, in *Insn) {
	vector := w>>26&1 == 1
	rt, base := w&31, arm64SP(w>>5)
	switch {
	case w>>27&7 == 0b011 && w>>24&3 == 0: // literal
		addr := int64(pc) + SignExtend(uint64(w>>5&0x7ffff), 19)<<2
		at := func(dst Reg, width uint8, offset int64) {
			in.op(Operation{Code: OpLoad, Width: width, Dst: dst, A: RegZero, B: RegNone, Imm: addr + offset})
		}
		switch {
		case vector && w>>30 == 2:
			at(vectorLow(rt), 8, 0)
			at(vectorHigh(rt), 8, 8)
		case vector:
			at(vectorLow(rt), 4+uint8(w>>30&1)*4, 0)
			arm64Clear(in, vectorHigh(rt))
		case w>>30 == 3: // prefetch
		default:
			at(arm64ZR(rt), 4+uint8(w>>30&1)*4, 0)
		}
	case w>>27&7 == 0b101: // pairs
		scale := 2 + w>>31
		if vector {
			scale = 2 + w>>30
		}
		size := int64(1) << scale
		disp := SignExtend(uint64(w>>15&0x7f), 7) << scale
		mode := w >> 23 & 3
		if mode == 1 { // post-index
			arm64Pair(w, in, base, 0, size, vector)
			in.op(Operation{Code: OpAdd, Width: 8, Dst: base, A: base, B: RegNone, Imm: disp})
			return
		}
		if mode == 3 { // pre-index
			in.op(Operation{Code: OpAdd, Width: 8, Dst: base, A: base, B: RegNone, Imm: disp})
			disp = 0
		}
		arm64Pair(w, in, base, disp, size, vector)
	case w>>27&7 == 0b111: // single registers
		arm64Single(w, in, base, rt, vector)
	default: // exclusives, atomics of the older kind, vector structures
		if vector {
			in.kill(vectorLow(rt))
			in.kill(vectorHigh(rt))
			return
		}
		width := uint8(1) << (w >> 30)
		if w>>23&1 == 1 && w>>21&1 == 0 { // ldar, stlr
			code := OpStore
			if w>>22&1 == 1 {
				code = OpLoad
			}
			in.op(Operation{Code: code, Width: width, Dst: arm64ZR(rt), A: base, B: RegNone})
			return
		}
		if w>>22&1 == 1 {
			in.kill(arm64ZR(rt))
			if w>>21&1 == 1 {
				in.kill(arm64ZR(w >> 10))
			}
			return
		}
		if status := w >> 16 & 31; status != 31 {
			in.kill(arm64ZR(status))
		}
	}
}

func arm64Clear(in *Insn, r Reg) {
	in.op(Operation{Code: OpConst, Width: 8, Dst: r})
}

func arm64Pair(w uint32, in *Insn, base Reg, disp, size int64, vector bool) {
	code := OpStore
	if w>>22&1 == 1 {
		code = OpLoad
	}
	for i, rt := range [2]uint32{w & 31, w >> 10 & 31} {
		at := disp + int64(i)*size
		if !vector {
			in.op(Operation{Code: code, Width: uint8(size), Dst: arm64ZR(rt), A: base, B: RegNone, Imm: at})
			continue
		}
		if size == 16 {
			in.op(Operation{Code: code, Width: 8, Dst: vectorLow(rt), A: base, B: RegNone, Imm: at})
			in.op(Operation{Code: code, Width: 8, Dst: vectorHigh(rt), A: base, B: RegNone, Imm: at + 8})
			continue
		}
		in.op(Operation{Code: code, Width: uint8(size), Dst: vectorLow(rt), A: base, B: RegNone, Imm: at})
		if code == OpLoad {
			arm64Clear(in, vectorHigh(rt))
		}
	}
}

func arm64Single(w uint32, in *Insn, base Reg, rt uint32, vector bool) {
	size, opc := w>>30, w>>22&3
	code := OpStore
	signed := false
	if vector {
		if opc&2 != 0 {
			size = 4
		}
		if opc&1 == 1 {
			code = OpLoad
		}
	} else if opc != 0 {
		code, signed = OpLoad, opc >= 2
		if size == 3 && opc == 2 {
			return // prefetch
		}
	}
	scale := uint8(size)
	o := Operation{Code: code, Width: uint8(1) << size, A: base, B: RegNone}
	post := int64(0)
	switch {
	case w>>24&1 == 1: // unsigned immediate
		o.Imm = int64(w>>10&0xfff) << scale
	case w>>21&1 == 1 && w>>10&3 == 2: // register offset
		o.B = arm64ZR(w >> 16)
		if w>>12&1 == 1 {
			o.Shift = scale
		}
	case w>>21&1 == 1: // atomics: old value to rt, memory unknown
		in.op(Operation{Code: OpStore, Width: uint8(1) << size, Dst: RegNone, A: base, B: RegNone})
		in.kill(arm64ZR(rt))
		return
	default:
		disp := SignExtend(uint64(w>>12&0x1ff), 9)
		switch w >> 10 & 3 {
		case 1:
			post = disp
		case 3:
			in.op(Operation{Code: OpAdd, Width: 8, Dst: base, A: base, B: RegNone, Imm: disp})
		default:
			o.Imm = disp
		}
	}
	if vector {
		o.Dst = vectorLow(rt)
		if size == 4 {
			o.Width = 8
			in.op(o)
			o.Dst, o.Imm = vectorHigh(rt), o.Imm+8
			in.op(o)
		} else {
			in.op(o)
			if code == OpLoad {
				arm64Clear(in, vectorHigh(rt))
			}
		}
	} else {
		o.Dst = arm64ZR(rt)
		in.op(o)
		if signed {
			in.op(Operation{Code: OpExtend, Width: o.Width, Dst: o.Dst, A: o.Dst, B: RegNone, Imm: 1})
		}
	}
	if post != 0 {
		in.op(Operation{Code: OpAdd, Width: 8, Dst: base, A: base, B: RegNone, Imm: post})
	}
}

// arm64Vector decodes the moves and constants of vector registers.
func arm64Vector(w uint32, in *Insn) {
	rd, rn, full := w&31, w>>5&31, w>>30&1 == 1
	lo, hi := vectorLow(rd), vectorHigh(rd)
	switch {
	case w>>19&0x1ff == 0b011110000 && w>>10&1 == 1 && w>>31 == 0: // modified immediate
		v, ok := arm64VectorImmediate(w)
		if !ok {
			break
		}
		in.op(Operation{Code: OpConst, Width: 8, Dst: lo, Imm: int64(v)})
		if !full {
			v = 0
		}
		in.op(Operation{Code: OpConst, Width: 8, Dst: hi, Imm: int64(v)})
		return
	case w&0x7f20fc00 == 0x1e200000: // between general and floating registers
		width := arm64Width(w)
		switch w >> 16 & 0x1f {
		case 0b00110: // fmov to general
			in.op(Operation{Code: OpMov, Width: width, Dst: arm64ZR(rd), A: vectorLow(rn)})
		case 0b00111: // fmov from general
			in.op(Operation{Code: OpMov, Width: width, Dst: lo, A: arm64ZR(rn)})
			arm64Clear(in, hi)
		case 0b01111: // fmov to the high half
			in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: arm64ZR(rn)})
		case 0b01110:
			in.op(Operation{Code: OpMov, Width: 8, Dst: arm64ZR(rd), A: vectorHigh(rn)})
		default:
			in.kill(arm64ZR(rd))
			in.kill(lo)
			in.kill(hi)
		}
		return
	case w&0xff3ffc00 == 0x1e204000: // fmov between floating registers
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: vectorLow(rn)})
		arm64Clear(in, hi)
		return
	case w&0xbfe0fc00 == 0x0ea01c00 && w>>16&31 == rn: // mov (orr) of a whole vector
		in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: vectorLow(rn)})
		if full {
			in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: vectorHigh(rn)})
		} else {
			arm64Clear(in, hi)
		}
		return
	case w&0x9fe0fc00 == 0x0e000c00: // dup from a general register
		if w>>16&15 == 8 {
			in.op(Operation{Code: OpMov, Width: 8, Dst: lo, A: arm64ZR(rn)})
		} else if w>>16&7 == 4 {
			in.op(Operation{Code: OpConcat, Width: 8, Dst: lo, A: arm64ZR(rn), B: arm64ZR(rn)})
		} else {
			break
		}
		if full {
			in.op(Operation{Code: OpMov, Width: 8, Dst: hi, A: lo})
		} else {
			arm64Clear(in, hi)
		}
		return
	case w&0xffe0fc00 == 0x4e001c00: // ins from a general register
		arm64Insert(w, in)
		return
	case w&0xbfe0fc00 == 0x0e003c00: // umov to a general register
		imm := w >> 16 & 31
		half := vectorLow(rn)
		if imm>>4 == 1 {
			half = vectorHigh(rn)
		}
		switch {
		case imm&15 == 8 && full:
			in.op(Operation{Code: OpMov, Width: 8, Dst: arm64ZR(rd), A: half})
		case imm&15 == 4:
			in.op(Operation{Code: OpMov, Width: 4, Dst: arm64ZR(rd), A: half})
		case imm&15 == 12:
			in.op(Operation{Code: OpShr, Width: 8, Dst: arm64ZR(rd), A: half, Imm: 32})
		default:
			in.kill(arm64ZR(rd))
		}
		return
	case w&0xbfe0fc00 == 0x0e002c00: // smov
		in.kill(arm64ZR(rd))
		return
	}
	in.kill(lo)
	in.kill(hi)
}

// arm64Insert decodes ins from a general register.
func arm64Insert(w uint32, in *Insn) {
	rn, imm, half := w>>5&31, w>>16&31, vectorLow(w&31)
	switch {
	case imm&15 == 8:
		if imm>>4 == 1 {
			half = vectorHigh(w & 31)
		}
		in.op(Operation{Code: OpMov, Width: 8, Dst: half, A: arm64ZR(rn)})
		return
	case imm&7 == 4:
		if imm>>4 == 1 {
			half = vectorHigh(w & 31)
		}
		if imm>>3&1 == 1 {
			in.op(Operation{Code: OpConcat, Width: 8, Dst: half, A: half, B: arm64ZR(rn)})
			return
		}
	}
	in.kill(half)
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
