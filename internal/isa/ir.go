package isa

// The two decoders turn machine code into the same few operations, so that one
// interpreter serves both machines. Only what can build a constant or an
// address, move it, store it, or make a call is kept; any other instruction
// becomes opKill of what it writes.

// Reg numbers a register: general ones 0..31, then halves of vector ones.
type Reg uint8

// Registers beside the general ones.
const (
	regVector Reg = 32 // the low half of vector register n is regVector+2n, the high half +1
	// NumRegs is the number of registers that hold a value.
	NumRegs = 96
	// RegNone is no register.
	RegNone Reg = 255
	// RegZero reads as zero. The number 31 of arm64 is SP where it does not mean
	// this register.
	RegZero Reg = 254
	// RegThread is the thread pointer.
	RegThread Reg = 253
)

func vectorLow(n uint32) Reg  { return regVector + Reg(2*n) }
func vectorHigh(n uint32) Reg { return regVector + Reg(2*n) + 1 }

// Opcode is what an operation does.
type Opcode uint8

// Operations.
const (
	OpKill     Opcode = iota // dst is unknown
	OpMov                    // dst = a
	OpConst                  // dst = imm
	OpAdd                    // dst = a + b<<shift + imm
	OpSub                    // dst = a - b<<shift
	OpAnd                    // dst = a & (b<<shift, or imm without b)
	OpOr                     // dst = a | ...
	OpXor                    // dst = a ^ ...
	OpAndNot                 // dst = a &^ b<<shift
	OpOrNot                  // dst = a | ^(b<<shift)
	OpShl                    // dst = a << imm
	OpShr                    // dst = a >> imm, logical
	OpSar                    // dst = a >> imm, arithmetic
	OpInsert                 // dst = dst with 16 bits at shift replaced by imm
	OpConcat                 // dst = low 32 bits of a, and those of b above
	OpKeepLow                // dst keeps its low 32 bits, those above are unknown
	OpFlag                   // dst = 0 or 1, or 0 or -1 when imm is 1
	OpSelect                 // dst = a or b
	OpExtend                 // dst = a cut to width bytes, sign-extended when imm is 1
	OpLoad                   // dst = memory[a + b<<shift + imm], width bytes
	OpStore                  // memory[a + b<<shift + imm] = dst, width bytes
	OpStoreImm               // memory[a + b<<shift + disp] = imm, width bytes
	OpFill                   // dst register times: memory[a...] = b, width bytes each (rep stos)
	OpCopy                   // dst register times: memory[a...] = memory[b...] (rep movs)
)

// Operation is one step of an instruction. Width is in bytes: of the result
// (4 zero-extends) or of the memory access.
type Operation struct {
	Code      Opcode
	Width     uint8
	Shift     uint8
	Dst, A, B Reg
	Imm       int64
	Disp      int64
}

// Flow is what an instruction does to the flow of control.
type Flow uint8

// Kinds of flow.
const (
	FlowNext         Flow = iota
	FlowJump              // to target
	FlowBranch            // to target or on
	FlowCall              // to target
	FlowCallIndirect      // to the value of callee, or of memory when calleeMem
	FlowJumpIndirect
	FlowReturn
	FlowSyscall // enters the kernel
	FlowStop    // does not go on: a trap
)

// Insn is one decoded instruction.
type Insn struct {
	Length int
	Flow   Flow
	Target uint64
	Callee Reg
	// CalleeMem says that the target is read from memory: a + b<<shift + imm of
	// mem.
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
