package isa

// Reg is a general register (0 to 31), half of a vector register or a pseudo-register.
type Reg uint8

// Registers beside the general ones.
const (
	regVector Reg = 32  // low half of vector register 0
	NumRegs       = 96  // registers with a value
	RegNone   Reg = 255 // no operand, or an unknown one
	// RegZero always reads as zero.
	RegZero Reg = 254
	// RegThread is the thread pointer (FS base, TPIDR_EL0).
	RegThread Reg = 253
)

// vectorLow and vectorHigh return the halves of vector register n.
func vectorLow(n uint32) Reg  { return regVector + Reg(2*n) }
func vectorHigh(n uint32) Reg { return regVector + Reg(2*n) + 1 }

// Opcode is the kind of an Operation. The comments name Operation's fields.
type Opcode uint8

// Opcodes.
const (
	OpKill     Opcode = iota // dst = unknown
	OpMov                    // dst = a
	OpConst                  // dst = imm
	OpAdd                    // dst = a + b<<shift + imm
	OpSub                    // dst = a - b<<shift
	OpAnd                    // dst = a & b<<shift, or a & imm if b is RegNone
	OpOr                     // dst = a | ..., operands as for OpAnd
	OpXor                    // dst = a ^ ..., operands as for OpAnd
	OpAndNot                 // dst = a &^ b<<shift
	OpOrNot                  // dst = a | ^(b<<shift)
	OpShl                    // dst = a << imm
	OpShr                    // dst = a >> imm, logical
	OpSar                    // dst = a >> imm, arithmetic
	OpInsert                 // dst = dst with the 16 bits at shift replaced by imm
	OpConcat                 // dst = low 32 bits of b << 32 | low 32 bits of a
	OpKeepLow                // dst = dst with its high 32 bits unknown
	OpFlag                   // dst = 0 or 1, or 0 or -1 if imm is 1
	OpSelect                 // dst = a or b
	OpExtend                 // dst = low width bytes of a, sign-extended if imm is 1
	OpLoad                   // dst = memory[a + b<<shift + imm], width bytes
	OpStore                  // memory[a + b<<shift + imm] = dst, width bytes
	OpStoreImm               // memory[a + b<<shift + disp] = imm, width bytes
	OpFill                   // dst times: memory[a...] = b, width bytes each (rep stos)
	OpCopy                   // dst times: memory[a...] = memory[b...] (rep movs)
)

// Operation is one micro-operation of an instruction.
type Operation struct {
	Code Opcode
	// Width is the size in bytes of the zero-extended result or of the memory access.
	Width     uint8
	Shift     uint8
	Dst, A, B Reg
	Imm       int64
	Disp      int64
}

// Flow is the effect of an instruction on the control flow.
type Flow uint8

// Effects on the control flow.
const (
	FlowNext         Flow = iota
	FlowJump              // to Target
	FlowBranch            // to Target or the next instruction
	FlowCall              // to Target
	FlowCallIndirect      // to the value of Callee, or of Mem if CalleeMem is set
	FlowJumpIndirect      // like FlowCallIndirect
	FlowReturn
	FlowSyscall
	FlowStop // traps
)

// Insn is one decoded instruction.
type Insn struct {
	// Length is in bytes.
	Length int
	Flow   Flow
	Target uint64
	Callee Reg
	// CalleeMem reports whether the target is loaded from the address of Mem.
	CalleeMem bool
	Mem       Operation
	ops       [8]Operation
	n         int
}

// Ops returns the operations of the instruction, in order.
func (in *Insn) Ops() []Operation { return in.ops[:in.n] }

func (in *Insn) op(o Operation) {
	if in.n < len(in.ops) {
		in.ops[in.n] = o
		in.n++
	}
}

func (in *Insn) kill(r Reg) { in.op(Operation{Code: OpKill, Dst: r, A: RegNone, B: RegNone}) }
func (in *Insn) killVector(n uint32) {
	in.kill(vectorLow(n))
	in.kill(vectorHigh(n))
}

func (in *Insn) mov(width uint8, dst, a Reg) {
	in.op(Operation{Code: OpMov, Width: width, Dst: dst, A: a, B: RegNone})
}

func (in *Insn) addImm(r Reg, imm int64) {
	in.op(Operation{Code: OpAdd, Width: 8, Dst: r, A: r, B: RegNone, Imm: imm})
}

func (in *Insn) clear(r Reg) { in.op(Operation{Code: OpConst, Width: 8, Dst: r}) }
