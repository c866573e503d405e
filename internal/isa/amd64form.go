package isa

// amd64Form is the set of fields after an opcode (Intel SDM volume 2, appendix A).
type amd64Form uint8

const (
	formNone   amd64Form = 0
	formModRM  amd64Form = 1 << 0
	formImm8   amd64Form = 1 << 1
	formImm16  amd64Form = 1 << 2
	formImm32  amd64Form = 1 << 3 // 16 bits with an operand-size prefix
	formImm64  amd64Form = 1 << 4 // like formImm32, but 64 bits with REX.W
	formMoffs  amd64Form = 1 << 5 // an absolute address
	formBad    amd64Form = 1 << 6 // not valid in 64-bit mode
	formPrefix amd64Form = 1 << 7
)

// amd64Forms are the forms by their letters in the opcode maps.
var amd64Forms = [...]amd64Form{
	'.': formNone, 'M': formModRM, 'b': formImm8, 'w': formImm16, 'z': formImm32, 'v': formImm64, 'o': formMoffs,
	'B': formModRM | formImm8, 'Z': formModRM | formImm32, 'e': formImm16 | formImm8, 'x': formBad, 'p': formPrefix,
}

// Opcode maps: the opcodes of one byte, and those after 0f.
const (
	amd64OneByte = "" +
		"MMMMbzxxMMMMbzxx" + "MMMMbzxxMMMMbzxx" + "MMMMbzpxMMMMbzpx" + "MMMMbzpxMMMMbzpx" + // 00 to 3f
		"pppppppppppppppp" + "................" + "xxxMppppzZbB...." + "bbbbbbbbbbbbbbbb" + // 40 to 7f
		"BZxBMMMMMMMMMMMM" + "..........x....." + "oooo....bz......" + "bbbbbbbbvvvvvvvv" + // 80 to bf
		"BBw.xxBZe.w..bx." + "MMMMbbx.MMMMMMMM" + "bbbbbbbbzzxb...." + "p.pp..MM......MM" //  c0 to ff
	amd64TwoByte = "" +
		"MMMMx.....x.xM.B" + "MMMMMMMMMMMMMMMM" + "MMMMxxxxMMMMMMMM" + "........MxMxxxxx" +
		"MMMMMMMMMMMMMMMM" + "MMMMMMMMMMMMMMMM" + "MMMMMMMMMMMMMMMM" + "BBBBMMM.MMMMMMMM" +
		"zzzzzzzzzzzzzzzz" + "MMMMMMMMMMMMMMMM" + "...MBMMM...MBMMM" + "MMMMMMMMMMBMMMMM" +
		"MMBMBBBM........" + "MMMMMMMMMMMMMMMM" + "MMMMMMMMMMMMMMMM" + "MMMMMMMMMMMMMMMM"
)

func formOf(opcodes string, b byte) amd64Form { return amd64Forms[opcodes[b]] }
