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
			in.clear(vectorHigh(rt))
		case w>>30 == 3: // prefetch
		default:
			at(arm64ZR(rt), 4+uint8(w>>30&1)*4, 0)
		}
	case w>>27&7 == 0b101: // ldp, stp
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
	default: // exclusives, compare and swap, vector structures
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
		if w>>22&1 == 1 { // ldxr, ldxp
			in.kill(arm64ZR(rt))
			if w>>21&1 == 1 {
				in.kill(arm64ZR(w >> 10))
			}
			return
		}
		if status := w >> 16 & 31; status != 31 { // stxr, stxp
			in.kill(arm64ZR(status))
		}
	}
}

// arm64Pair decodes the accesses of ldp and stp, which are size bytes each.
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
			in.clear(vectorHigh(rt))
		}
	}
}

// arm64Single decodes ldr, str and their variants, and atomics.
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
	case w>>21&1 == 1: // atomics
		in.op(Operation{Code: OpStore, Width: uint8(1) << size, Dst: RegNone, A: base, B: RegNone})
		in.kill(arm64ZR(rt))
		return
	default:
		disp := SignExtend(uint64(w>>12&0x1ff), 9)
		switch w >> 10 & 3 {
		case 1: // post-index
			post = disp
		case 3: // pre-index
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
				in.clear(vectorHigh(rt))
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
