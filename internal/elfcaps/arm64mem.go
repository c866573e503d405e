package elfcaps

// arm64Memory decodes loads and stores.
func arm64Memory(w uint32, pc uint64, in *insn) {
	vector := w>>26&1 == 1
	rt, base := w&31, arm64SP(w>>5)
	switch {
	case w>>27&7 == 0b011 && w>>24&3 == 0: // literal
		addr := int64(pc) + signExtend(uint64(w>>5&0x7ffff), 19)<<2
		at := func(dst reg, width uint8, offset int64) {
			in.op(operation{code: opLoad, width: width, dst: dst, a: regZero, b: regNone, imm: addr + offset})
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
		disp := signExtend(uint64(w>>15&0x7f), 7) << scale
		mode := w >> 23 & 3
		if mode == 1 { // post-index
			arm64Pair(w, in, base, 0, size, vector)
			in.op(operation{code: opAdd, width: 8, dst: base, a: base, b: regNone, imm: disp})
			return
		}
		if mode == 3 { // pre-index
			in.op(operation{code: opAdd, width: 8, dst: base, a: base, b: regNone, imm: disp})
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
			code := opStore
			if w>>22&1 == 1 {
				code = opLoad
			}
			in.op(operation{code: code, width: width, dst: arm64ZR(rt), a: base, b: regNone})
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

func arm64Clear(in *insn, r reg) {
	in.op(operation{code: opConst, width: 8, dst: r})
}

func arm64Pair(w uint32, in *insn, base reg, disp, size int64, vector bool) {
	code := opStore
	if w>>22&1 == 1 {
		code = opLoad
	}
	for i, rt := range [2]uint32{w & 31, w >> 10 & 31} {
		at := disp + int64(i)*size
		if !vector {
			in.op(operation{code: code, width: uint8(size), dst: arm64ZR(rt), a: base, b: regNone, imm: at})
			continue
		}
		if size == 16 {
			in.op(operation{code: code, width: 8, dst: vectorLow(rt), a: base, b: regNone, imm: at})
			in.op(operation{code: code, width: 8, dst: vectorHigh(rt), a: base, b: regNone, imm: at + 8})
			continue
		}
		in.op(operation{code: code, width: uint8(size), dst: vectorLow(rt), a: base, b: regNone, imm: at})
		if code == opLoad {
			arm64Clear(in, vectorHigh(rt))
		}
	}
}

func arm64Single(w uint32, in *insn, base reg, rt uint32, vector bool) {
	size, opc := w>>30, w>>22&3
	code := opStore
	signed := false
	if vector {
		if opc&2 != 0 {
			size = 4
		}
		if opc&1 == 1 {
			code = opLoad
		}
	} else if opc != 0 {
		code, signed = opLoad, opc >= 2
		if size == 3 && opc == 2 {
			return // prefetch
		}
	}
	scale := uint8(size)
	o := operation{code: code, width: uint8(1) << size, a: base, b: regNone}
	post := int64(0)
	switch {
	case w>>24&1 == 1: // unsigned immediate
		o.imm = int64(w>>10&0xfff) << scale
	case w>>21&1 == 1 && w>>10&3 == 2: // register offset
		o.b = arm64ZR(w >> 16)
		if w>>12&1 == 1 {
			o.shift = scale
		}
	case w>>21&1 == 1: // atomics: old value to rt, memory unknown
		in.op(operation{code: opStore, width: uint8(1) << size, dst: regNone, a: base, b: regNone})
		in.kill(arm64ZR(rt))
		return
	default:
		disp := signExtend(uint64(w>>12&0x1ff), 9)
		switch w >> 10 & 3 {
		case 1:
			post = disp
		case 3:
			in.op(operation{code: opAdd, width: 8, dst: base, a: base, b: regNone, imm: disp})
		default:
			o.imm = disp
		}
	}
	if vector {
		o.dst = vectorLow(rt)
		if size == 4 {
			o.width = 8
			in.op(o)
			o.dst, o.imm = vectorHigh(rt), o.imm+8
			in.op(o)
		} else {
			in.op(o)
			if code == opLoad {
				arm64Clear(in, vectorHigh(rt))
			}
		}
	} else {
		o.dst = arm64ZR(rt)
		in.op(o)
		if signed {
			in.op(operation{code: opExtend, width: o.width, dst: o.dst, a: o.dst, b: regNone, imm: 1})
		}
	}
	if post != 0 {
		in.op(operation{code: opAdd, width: 8, dst: base, a: base, b: regNone, imm: post})
	}
}

// arm64Vector decodes the moves and constants of vector registers.
func arm64Vector(w uint32, in *insn) {
	rd, rn, full := w&31, w>>5&31, w>>30&1 == 1
	lo, hi := vectorLow(rd), vectorHigh(rd)
	switch {
	case w>>19&0x1ff == 0b011110000 && w>>10&1 == 1 && w>>31 == 0: // modified immediate
		v, ok := arm64VectorImmediate(w)
		if !ok {
			break
		}
		in.op(operation{code: opConst, width: 8, dst: lo, imm: int64(v)})
		if !full {
			v = 0
		}
		in.op(operation{code: opConst, width: 8, dst: hi, imm: int64(v)})
		return
	case w&0x7f20fc00 == 0x1e200000: // between general and floating registers
		width := arm64Width(w)
		switch w >> 16 & 0x1f {
		case 0b00110: // fmov to general
			in.op(operation{code: opMov, width: width, dst: arm64ZR(rd), a: vectorLow(rn)})
		case 0b00111: // fmov from general
			in.op(operation{code: opMov, width: width, dst: lo, a: arm64ZR(rn)})
			arm64Clear(in, hi)
		case 0b01111: // fmov to the high half
			in.op(operation{code: opMov, width: 8, dst: hi, a: arm64ZR(rn)})
		case 0b01110:
			in.op(operation{code: opMov, width: 8, dst: arm64ZR(rd), a: vectorHigh(rn)})
		default:
			in.kill(arm64ZR(rd))
			in.kill(lo)
			in.kill(hi)
		}
		return
	case w&0xff3ffc00 == 0x1e204000: // fmov between floating registers
		in.op(operation{code: opMov, width: 8, dst: lo, a: vectorLow(rn)})
		arm64Clear(in, hi)
		return
	case w&0xbfe0fc00 == 0x0ea01c00 && w>>16&31 == rn: // mov (orr) of a whole vector
		in.op(operation{code: opMov, width: 8, dst: lo, a: vectorLow(rn)})
		if full {
			in.op(operation{code: opMov, width: 8, dst: hi, a: vectorHigh(rn)})
		} else {
			arm64Clear(in, hi)
		}
		return
	case w&0x9fe0fc00 == 0x0e000c00: // dup from a general register
		if w>>16&15 == 8 {
			in.op(operation{code: opMov, width: 8, dst: lo, a: arm64ZR(rn)})
		} else if w>>16&7 == 4 {
			in.op(operation{code: opJoinLo, width: 8, dst: lo, a: arm64ZR(rn), b: arm64ZR(rn)})
		} else {
			break
		}
		if full {
			in.op(operation{code: opMov, width: 8, dst: hi, a: lo})
		} else {
			arm64Clear(in, hi)
		}
		return
	case w&0xffe0fc00 == 0x4e001c00: // ins from a general register
		imm := w >> 16 & 31
		half := lo
		switch {
		case imm&15 == 8:
			if imm>>4 == 1 {
				half = hi
			}
			in.op(operation{code: opMov, width: 8, dst: half, a: arm64ZR(rn)})
			return
		case imm&7 == 4:
			if imm>>4 == 1 {
				half = hi
			}
			if imm>>3&1 == 1 {
				in.op(operation{code: opJoinLo, width: 8, dst: half, a: half, b: arm64ZR(rn)})
				return
			}
		}
		in.kill(half)
		return
	case w&0xbfe0fc00 == 0x0e003c00: // umov to a general register
		imm := w >> 16 & 31
		half := vectorLow(rn)
		if imm>>4 == 1 {
			half = vectorHigh(rn)
		}
		switch {
		case imm&15 == 8 && full:
			in.op(operation{code: opMov, width: 8, dst: arm64ZR(rd), a: half})
		case imm&15 == 4:
			in.op(operation{code: opMov, width: 4, dst: arm64ZR(rd), a: half})
		case imm&15 == 12:
			in.op(operation{code: opShr, width: 8, dst: arm64ZR(rd), a: half, imm: 32})
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
