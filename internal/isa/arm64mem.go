package isa

// arm64Memory decodes loads and stores.
func arm64Memory(w uint32, pc uint64, in *Insn) {
	vector := w>>26&1 == 1
	base := arm64SP(w >> 5)
	switch {
	case w>>27&7 == 0b011 && w>>24&3 == 0: // literal
		addr := int64(pc) + SignExtend(uint64(w>>5&0x7ffff), 19)<<2
		o := Operation{Code: OpLoad, Width: 4 + uint8(w>>30&1)*4, A: RegZero, B: RegNone, Imm: addr}
		if vector && w>>30 == 2 {
			o.Width = 16
		}
		if vector || w>>30 != 3 { // else a prefetch
			arm64Access(in, o, w&31, vector)
		}
	case w>>27&7 == 0b101: // ldp, stp
		scale := 2 + w>>31
		if vector {
			scale = 2 + w>>30
		}
		o := Operation{Code: arm64LoadStore(w), Width: uint8(1) << scale, A: base, B: RegNone}
		disp, mode := SignExtend(uint64(w>>15&0x7f), 7)<<scale, w>>23&3
		switch mode {
		case 0, 2:
			o.Imm = disp
		case 3: // pre-index
			in.addImm(base, disp)
		}
		arm64Access(in, o, w&31, vector)
		o.Imm += 1 << scale
		arm64Access(in, o, w>>10&31, vector)
		if mode == 1 { // post-index
			in.addImm(base, disp)
		}
	case w>>27&7 == 0b111: // single registers
		arm64Single(w, in, base, vector)
	case vector: // structures
		in.killVector(w & 31)
	case w>>23&1 == 1 && w>>21&1 == 0: // ldar, stlr
		in.op(Operation{Code: arm64LoadStore(w), Width: uint8(1) << (w >> 30), Dst: arm64ZR(w), A: base, B: RegNone})
	case w>>22&1 == 1: // ldxr, ldxp, compare and swap
		in.kill(arm64ZR(w))
		if w>>21&1 == 1 {
			in.kill(arm64ZR(w >> 10))
		}
	default: // stxr, stxp
		if status := w >> 16 & 31; status != 31 {
			in.kill(arm64ZR(status))
		}
	}
}

func arm64LoadStore(w uint32) Opcode { return [2]Opcode{OpStore, OpLoad}[w>>22&1] }

// arm64Access adds the access o of register rt. A partial vector load clears the high half.
func arm64Access(in *Insn, o Operation, rt uint32, vector bool) {
	o.Dst = arm64ZR(rt)
	if vector {
		o.Dst = vectorLow(rt)
	}
	if o.Width != 16 {
		in.op(o)
		if vector && o.Code == OpLoad {
			in.clear(vectorHigh(rt))
		}
		return
	}
	o.Width = 8
	in.op(o)
	o.Dst, o.Imm = vectorHigh(rt), o.Imm+8
	in.op(o)
}

// arm64Single decodes ldr, str and their variants, and atomics.
func arm64Single(w uint32, in *Insn, base Reg, vector bool) {
	size, opc := w>>30, w>>22&3
	code, signed := arm64LoadStore(w), false
	if vector {
		if opc&2 != 0 {
			size = 4
		}
	} else if opc != 0 {
		code, signed = OpLoad, opc >= 2
		if size == 3 && opc == 2 {
			return // prefetch
		}
	}
	o := Operation{Code: code, Width: uint8(1) << size, A: base, B: RegNone}
	post := int64(0)
	switch {
	case w>>24&1 == 1: // unsigned immediate
		o.Imm = int64(w>>10&0xfff) << size
	case w>>21&1 == 1 && w>>10&3 == 2: // register offset
		o.B = arm64ZR(w >> 16)
		if w>>12&1 == 1 {
			o.Shift = uint8(size)
		}
	case w>>21&1 == 1: // atomics
		in.op(Operation{Code: OpStore, Width: uint8(1) << size, Dst: RegNone, A: base, B: RegNone})
		in.kill(arm64ZR(w))
		return
	default:
		disp := SignExtend(uint64(w>>12&0x1ff), 9)
		switch w >> 10 & 3 {
		case 1: // post-index
			post = disp
		case 3: // pre-index
			in.addImm(base, disp)
		default:
			o.Imm = disp
		}
	}
	arm64Access(in, o, w&31, vector)
	if signed {
		in.op(Operation{Code: OpExtend, Width: o.Width, Dst: arm64ZR(w), A: arm64ZR(w), B: RegNone, Imm: 1})
	}
	if post != 0 {
		in.addImm(base, post)
	}
}
