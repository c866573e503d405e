package isa

// Opcode maps. Instructions with an EVEX prefix are in mapEVEX, whatever their map.
const (
	mapOneByte = 1 + iota
	map0F
	map0F38
	map0F3A
	mapEVEX
)

// amd64Insn holds the fields of an instruction.
type amd64Insn struct {
	rex, op, opmap    byte
	opsize, rep, repn bool // prefixes 66, f3, f2
	fs                bool // segment override
	addr32            bool
	vex, vexL         bool
	vvvv              Reg
	modrm             byte
	hasModRM          bool
	// The address of the memory operand is base + index<<shift + disp; the base of
	// an absolute address is RegZero.
	base, index Reg
	shift       uint8
	disp        int64
	// addrUnknown reports whether a segment base or a scale that is not decoded
	// changes the address.
	addrUnknown bool
	imm         int64
	length      int
}

func (x *amd64Insn) w() bool { return x.rex&8 != 0 }

// reg, ext (an opcode extension) and rm are the fields of the ModRM byte.
func (x *amd64Insn) reg() Reg    { return Reg(x.modrm>>3&7 | x.rex<<1&8) }
func (x *amd64Insn) ext() byte   { return x.modrm >> 3 & 7 }
func (x *amd64Insn) rm() Reg     { return Reg(x.modrm&7 | x.rex<<3&8) }
func (x *amd64Insn) isMem() bool { return x.modrm < 0xc0 }

// opcodeReg is the register in the low bits of the opcode.
func (x *amd64Insn) opcodeReg() Reg { return Reg(x.op&7 | x.rex<<3&8) }

// width returns the operand size in bytes.
func (x *amd64Insn) width() uint8 {
	switch {
	case x.w():
		return 8
	case x.opsize:
		return 2
	}
	return 4
}

// parse reads the fields of the instruction at the start of code.
func (x *amd64Insn) parse(code []byte, pc uint64) bool {
	code = code[:min(len(code), amd64MaxLength)]
	i, form := x.parseOpcode(code, x.parsePrefixes(code))
	if i >= len(code) || form&(formBad|formPrefix) != 0 {
		return false
	}
	x.op = code[i]
	i++
	if form&formModRM != 0 {
		var ok bool
		if i, ok = x.parseModRM(code, i); !ok {
			return false
		}
		if x.opmap == mapOneByte && x.ext() < 2 { // test has an immediate
			switch x.op {
			case 0xf6:
				form |= formImm8
			case 0xf7:
				form |= formImm32
			}
		}
	}
	x.length = i + int(x.immediateSize(form))
	if x.length > len(code) {
		return false
	}
	x.imm = signed(code[i:x.length])
	if x.hasModRM && x.base == RegNone { // relative to the next instruction
		x.base = RegZero
		x.disp += int64(pc) + int64(x.length)
	}
	return true
}

// signed returns a little-endian number of up to eight bytes.
func signed(b []byte) int64 {
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return SignExtend(v, 8*uint(len(b)))
}

// parsePrefixes returns the index of the first byte after the legacy prefixes and REX.
func (x *amd64Insn) parsePrefixes(code []byte) (i int) {
	for ; i < len(code); i++ {
		switch b := code[i]; {
		case b == 0x66:
			x.opsize = true
		case b == 0x67:
			x.addr32 = true
		case b == 0xf3:
			x.rep = true
		case b == 0xf2:
			x.repn = true
		case b == 0x64 || b == 0x65:
			x.addrUnknown, x.fs = true, b == 0x64
		case b == 0xf0 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26:
		case b&0xf0 == 0x40:
			if i+1 < len(code) && formOf(amd64OneByte, code[i+1])&formPrefix != 0 {
				continue // the processor ignores a REX before another prefix
			}
			x.rex = b
			return i + 1
		default:
			return i
		}
	}
	return i
}

// parseOpcode reads the escape bytes or VEX prefix at i. It returns the opcode's index and form.
func (x *amd64Insn) parseOpcode(code []byte, i int) (int, amd64Form) {
	at := func(k int) byte {
		if k < len(code) {
			return code[k]
		}
		return 0
	}
	switch b := at(i); b {
	case 0x0f:
		switch at(i + 1) {
		case 0x38:
			x.opmap = map0F38
			return i + 2, formModRM
		case 0x3a:
			x.opmap = map0F3A
			return i + 2, formModRM | formImm8
		}
		x.opmap = map0F
		return i + 1, formOf(amd64TwoByte, at(i+1))
	case 0xc5: // two-byte VEX
		x.rex = ^at(i+1) >> 5 & 4
		x.parseVEX(at(i + 1))
		x.opmap = map0F
		return i + 2, formOf(amd64TwoByte, at(i+2))
	case 0xc4, 0x62: // three-byte VEX, EVEX
		p0, p1 := at(i+1), at(i+2)
		x.rex = ^p0>>5&7 | p1>>4&8
		x.parseVEX(p1)
		i += 3 + int(btoi(b == 0x62))
		form := formModRM
		x.opmap = map0F38
		switch p0 & 7 {
		case 1:
			x.opmap, form = map0F, formOf(amd64TwoByte, at(i))
		case 2, 5, 6:
		case 3:
			x.opmap, form = map0F3A, formModRM|formImm8
		default:
			form = formBad
		}
		if b == 0x62 {
			x.opmap = mapEVEX
		}
		return i, form
	default:
		x.opmap = mapOneByte
		return i, formOf(amd64OneByte, b)
	}
}

// parseVEX reads the byte that VEX and EVEX prefixes share: vvvv, L, pp.
func (x *amd64Insn) parseVEX(p byte) {
	x.vex, x.vexL = true, p&4 != 0
	x.vvvv = Reg(^p >> 3 & 15)
	switch p & 3 {
	case 1:
		x.opsize = true
	case 2:
		x.rep = true
	case 3:
		x.repn = true
	}
}

// immediateSize is in bytes.
func (x *amd64Insn) immediateSize(form amd64Form) uint8 {
	switch {
	case form&formMoffs != 0:
		return 8 - 4*btoi(x.addr32)
	case form&formImm64 != 0 && x.w():
		return 8
	case form&(formImm32|formImm64) != 0:
		near := x.opmap == mapOneByte && (x.op == 0xe8 || x.op == 0xe9) || x.opmap == map0F
		return 4 - 2*btoi(x.opsize && !x.w() && !near)
	}
	return 2*btoi(form&formImm16 != 0) + btoi(form&formImm8 != 0)
}

// parseModRM reads the ModRM byte and memory operand at i. It returns the index after them.
func (x *amd64Insn) parseModRM(code []byte, i int) (int, bool) {
	if i >= len(code) {
		return i, false
	}
	x.modrm, x.hasModRM = code[i], true
	i++
	x.base, x.index = RegZero, RegNone
	if !x.isMem() {
		return i, true
	}
	mod, rm := x.modrm>>6, x.modrm&7
	dispSize := [3]int{0, 1, 4}[mod]
	switch {
	case rm == 4:
		if i >= len(code) {
			return i, false
		}
		sib := code[i]
		i++
		if idx := sib>>3&7 | x.rex<<2&8; idx != 4 {
			x.index, x.shift = Reg(idx), sib>>6
		}
		if sib&7 == 5 && mod == 0 {
			dispSize = 4
		} else {
			x.base = Reg(sib&7 | x.rex<<3&8)
		}
	case rm == 5 && mod == 0:
		x.base, dispSize = RegNone, 4
	default:
		x.base = x.rm()
	}
	if i+dispSize > len(code) {
		return i, false
	}
	x.disp = signed(code[i : i+dispSize])
	if dispSize == 1 && x.opmap == mapEVEX {
		x.addrUnknown = true // scaled by the vector length (disp8*N)
	}
	return i + dispSize, true
}
