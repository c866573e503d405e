package isa

import "encoding/binary"

// amd64Form says what follows an opcode (Intel SDM volume 2, appendix A).
type amd64Form uint8

const (
	formNone   amd64Form = 0
	formModRM  amd64Form = 1 << 0
	formImm8   amd64Form = 1 << 1
	formImm16  amd64Form = 1 << 2
	formImm32  amd64Form = 1 << 3 // 16 bits with an operand-size prefix
	formImm64  amd64Form = 1 << 4 // as formImm32 but 64 bits with REX.W
	formMoffs  amd64Form = 1 << 5
	formBad    amd64Form = 1 << 6
	formPrefix amd64Form = 1 << 7
)

// amd64OneByte returns the form of a one-byte opcode.
func amd64OneByte(b byte) amd64Form {
	switch {
	case b < 0x40:
		switch b & 7 {
		case 0, 1, 2, 3:
			return formModRM
		case 4:
			return formImm8
		case 5:
			return formImm32
		}
		if b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e {
			return formPrefix
		}
		return formBad
	case b < 0x50:
		return formPrefix // REX, taken before
	case b < 0x60:
		return formNone
	}
	switch b {
	case 0x63, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f,
		0xd0, 0xd1, 0xd2, 0xd3, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xf6, 0xf7, 0xfe, 0xff:
		return formModRM
	case 0x6b, 0x80, 0x83, 0xc0, 0xc1, 0xc6:
		return formModRM | formImm8
	case 0x69, 0x81, 0xc7:
		return formModRM | formImm32
	case 0x68, 0xa9, 0xe8, 0xe9:
		return formImm32
	case 0x6a, 0xa8, 0xcd, 0xd4, 0xd5, 0xe4, 0xe5, 0xe6, 0xe7, 0xeb, 0xe0, 0xe1, 0xe2, 0xe3:
		return formImm8
	case 0xc2, 0xca:
		return formImm16
	case 0xc8:
		return formImm16 | formImm8
	case 0xa0, 0xa1, 0xa2, 0xa3:
		return formMoffs
	case 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3:
		return formPrefix
	case 0x60, 0x61, 0x62, 0x82, 0x9a, 0xc4, 0xc5, 0xea, 0xce, 0xd6:
		return formBad
	}
	switch {
	case b >= 0x70 && b <= 0x7f, b >= 0xb0 && b <= 0xb7:
		return formImm8
	case b >= 0xb8 && b <= 0xbf:
		return formImm64
	}
	return formNone
}

// amd64TwoByte returns the form of an opcode after 0f.
func amd64TwoByte(b byte) amd64Form {
	switch {
	case b >= 0x80 && b <= 0x8f:
		return formImm32
	case b >= 0xc8 && b <= 0xcf, b >= 0x30 && b <= 0x37:
		return formNone
	}
	switch b {
	case 0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0e, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9, 0xaa:
		return formNone
	case 0x04, 0x0a, 0x0c, 0x24, 0x25, 0x26, 0x27, 0x36, 0x39, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f:
		return formBad
	case 0x0f, 0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6:
		return formModRM | formImm8
	}
	return formModRM
}

// amd64Insn is an instruction taken apart, before its meaning is looked up.
type amd64Insn struct {
	rex, op byte
	// space is the opcode map: 1 for one byte, 2 for 0f, 3 for 0f38, 4 for
	// 0f3a, 5 for anything with an EVEX prefix.
	space             byte
	opsize, rep, repn bool
	segment           bool // fs or gs: memory that is reached in another way
	thread            bool // fs: the thread's own
	addr32            bool
	vex               bool
	vexL              bool
	vvvv              byte
	modrm             byte
	hasModRM          bool
	// base, index, shift and disp are the memory operand; base is regZero when
	// the address is absolute.
	base, index Reg
	shift       uint8
	disp        int64
	imm         int64
	length      int
}

func (x *amd64Insn) w() bool { return x.rex&8 != 0 }

// reg and rm are the operands of the ModRM byte; isMem says that rm is memory.
func (x *amd64Insn) reg() byte   { return x.modrm>>3&7 | x.rex<<1&8 }
func (x *amd64Insn) rm() byte    { return x.modrm&7 | x.rex<<3&8 }
func (x *amd64Insn) isMem() bool { return x.modrm < 0xc0 }

func (x *amd64Insn) width() uint8 {
	switch {
	case x.w():
		return 8
	case x.opsize:
		return 2
	}
	return 4
}

// parse takes the instruction at the start of code apart.
func (x *amd64Insn) parse(code []byte, pc uint64) bool {
	code = code[:min(len(code), 15)]
	i, ok := x.parsePrefixes(code)
	if !ok {
		return false
	}
	form, i, ok := x.parseOpcode(code, i)
	if !ok || i >= len(code) || form&(formBad|formPrefix) != 0 {
		return false
	}
	x.op = code[i]
	i++
	if form&formModRM != 0 {
		if i, ok = x.parseModRM(code, i); !ok {
			return false
		}
		if x.space == 1 && x.modrm>>3&7 < 2 { // test has an immediate
			switch x.op {
			case 0xf6:
				form |= formImm8
			case 0xf7:
				form |= formImm32
			}
		}
	}
	n := x.immediateSize(form)
	if i+n > len(code) {
		return false
	}
	switch n {
	case 1:
		x.imm = int64(int8(code[i]))
	case 2:
		x.imm = int64(int16(binary.LittleEndian.Uint16(code[i:])))
	case 4:
		x.imm = int64(int32(binary.LittleEndian.Uint32(code[i:])))
	case 8:
		x.imm = int64(binary.LittleEndian.Uint64(code[i:]))
	}
	x.length = i + n
	if x.hasModRM && x.base == RegNone { // relative to the next instruction
		x.base = RegZero
		x.disp += int64(pc) + int64(x.length)
	}
	return true
}

// parsePrefixes takes up the legacy prefixes and REX, and returns the index of the
// opcode.
func (x *amd64Insn) parsePrefixes(code []byte) (i int, ok bool) {
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
			x.segment, x.thread = true, b == 0x64
		case b == 0xf0 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26:
		case b&0xf0 == 0x40:
			if i+1 >= len(code) {
				return 0, false
			}
			if amd64OneByte(code[i+1])&formPrefix == 0 { // a REX that is not last has no effect
				x.rex = b
				return i + 1, true
			}
		default:
			return i, true
		}
	}
	return 0, false
}

// parseOpcode finds the opcode map and returns the form and the index of the last
// byte of the opcode.
func (x *amd64Insn) parseOpcode(code []byte, i int) (form amd64Form, last int, ok bool) {
	at := func(k int) byte {
		if k < len(code) {
			return code[k]
		}
		return 0
	}
	switch b := at(i); b {
	case 0x0f:
		i++
		switch at(i) {
		case 0x38:
			i++
			x.space, form = 3, formModRM
		case 0x3a:
			i++
			x.space, form = 4, formModRM|formImm8
		default:
			x.space, form = 2, amd64TwoByte(at(i))
		}
	case 0xc5:
		p := at(i + 1)
		x.rex = ^p >> 5 & 4
		x.simd(p)
		i += 2
		x.space, form = 2, amd64TwoByte(at(i))
	case 0xc4, 0x62:
		p0, p1 := at(i+1), at(i+2)
		x.rex = ^p0>>5&7 | p1>>4&8
		x.simd(p1)
		i += 3
		if b == 0x62 {
			i++
		}
		switch p0 & 7 {
		case 1:
			x.space, form = 2, amd64TwoByte(at(i))
		case 2, 5, 6:
			x.space, form = 3, formModRM
		case 3:
			x.space, form = 4, formModRM|formImm8
		default:
			return 0, 0, false
		}
		if b == 0x62 {
			x.space = 5
		}
	default:
		x.space, form = 1, amd64OneByte(b)
	}
	return form, i, true
}

// immediateSize returns the number of bytes of the immediate.
func (x *amd64Insn) immediateSize(form amd64Form) (n int) {
	switch {
	case form&formMoffs != 0 && x.addr32:
		return 4
	case form&formMoffs != 0 || form&formImm64 != 0 && x.w():
		return 8
	case form&(formImm32|formImm64) != 0:
		near := x.space == 1 && (x.op == 0xe8 || x.op == 0xe9) || x.space == 2
		if x.opsize && !x.w() && !near {
			return 2
		}
		return 4
	}
	if form&formImm16 != 0 {
		n += 2
	}
	if form&formImm8 != 0 {
		n++
	}
	return n
}

// simd takes the common byte of VEX and EVEX prefixes.
func (x *amd64Insn) simd(p byte) {
	x.vex, x.vexL = true, p&4 != 0
	x.vvvv = ^p >> 3 & 15
	switch p & 3 {
	case 1:
		x.opsize = true
	case 2:
		x.rep = true
	case 3:
		x.repn = true
	}
}

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
		x.base = Reg(x.rm())
	}
	if i+dispSize > len(code) {
		return i, false
	}
	switch dispSize {
	case 1:
		x.disp = int64(int8(code[i]))
		if x.space == 5 {
			x.segment = true // a compressed displacement: the address is not known
		}
	case 4:
		x.disp = int64(int32(binary.LittleEndian.Uint32(code[i:])))
	}
	return i + dispSize, true
}
