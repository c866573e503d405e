package elfcaps

// The two decoders turn machine code into the same few operations, so that one
// interpreter serves both machines. Only what can build a constant or an
// address, move it, store it, or make a call is kept; any other instruction
// becomes opKill of what it writes.

// reg numbers a register: general ones 0..31, then halves of vector ones.
type reg uint8

const (
	regVector reg = 32 // low half of vector register n is regVector+2n, high +1
	numRegs       = 96
	regNone   reg = 255
	// On arm64, SP is 31 and the zero register reads as regZero.
	regZero reg = 254
	// regThread is the pointer to the thread's own data.
	regThread reg = 253
)

func vectorLow(n uint32) reg  { return regVector + reg(2*n) }
func vectorHigh(n uint32) reg { return regVector + reg(2*n) + 1 }

// opcode is what an operation does.
type opcode uint8

const (
	opKill     opcode = iota // dst is unknown
	opMov                    // dst = a
	opConst                  // dst = imm
	opAdd                    // dst = a + b<<shift + imm
	opSub                    // dst = a - b<<shift
	opAnd                    // dst = a & (b<<shift, or imm without b)
	opOr                     // dst = a | ...
	opXor                    // dst = a ^ ...
	opAndNot                 // dst = a &^ b<<shift
	opOrNot                  // dst = a | ^(b<<shift)
	opShl                    // dst = a << imm
	opShr                    // dst = a >> imm, logical
	opSar                    // dst = a >> imm, arithmetic
	opInsert                 // dst = dst with 16 bits at shift replaced by imm
	opJoinLo                 // dst = low 32 bits of a, and those of b above
	opKeepLow                // dst keeps its low 32 bits, those above are unknown
	opFlag                   // dst = 0 or 1, or 0 or -1 when imm is 1
	opEither                 // dst = a or b
	opExtend                 // dst = a cut to width bytes, sign-extended when imm is 1
	opLoad                   // dst = memory[a + b<<shift + imm], width bytes
	opStore                  // memory[a + b<<shift + imm] = dst, width bytes
	opStoreImm               // memory[a + b<<shift + disp] = imm, width bytes
	opFill                   // dst register times: memory[a...] = b, width bytes each (rep stos)
	opCopy                   // dst register times: memory[a...] = memory[b...] (rep movs)
)

// operation is one step of an instruction. Width is in bytes: of the result
// (4 zero-extends) or of the memory access.
type operation struct {
	code      opcode
	width     uint8
	shift     uint8
	dst, a, b reg
	imm       int64
	disp      int64
}

// flow is what an instruction does to the flow of control.
type flow uint8

const (
	flowNext         flow = iota
	flowJump              // to target
	flowBranch            // to target or on
	flowCall              // to target
	flowCallIndirect      // to the value of callee, or of memory when calleeMem
	flowJumpIndirect
	flowReturn
	flowSyscall // enters the kernel
	flowStop    // does not go on: a trap
)

// insn is one decoded instruction.
type insn struct {
	length int
	flow   flow
	target uint64
	callee reg
	// calleeMem says that the target is read from memory: a + b<<shift + imm of
	// mem.
	calleeMem bool
	mem       operation
	ops       [8]operation
	n         int
}

func (in *insn) op(o operation) {
	if in.n < len(in.ops) {
		in.ops[in.n] = o
		in.n++
	}
}

func (in *insn) kill(r reg) { in.op(operation{code: opKill, dst: r, a: regNone, b: regNone}) }

// machine is what the analysis must know of an instruction set and its kernel
// interface.
type machine struct {
	name string
	// decode decodes the instruction at the start of code; false when there is
	// none. It never allocates and touches no shared state.
	decode func(code []byte, pc uint64, in *insn) bool
	// longest is the most bytes of one instruction, align what they align to.
	longest, align int
	sp             reg
	// number and args are the registers of a kernel entry; callArgs those of a
	// C call; result of both.
	number   reg
	args     [3]reg
	callArgs [4]reg
	result   reg
	// preserved are the registers that a C call keeps.
	preserved []reg
	// pushed is how many bytes a call pushes.
	pushed int64
	// zero is a register that holds zero in Go code, regNone if there is none.
	goZero reg
	// goArgs are the first three integer arguments of a Go function.
	goArgs         [3]reg
	capget, capset uint64
}

var (
	arm64Preserved = [...]reg{19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29}
	amd64Preserved = [...]reg{3, 5, 12, 13, 14, 15}
)

// machineFor returns the machine of that GOARCH name, nil when its code is not
// read. Numbers: asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl.
func machineFor(name string) *machine {
	switch name {
	case "arm64":
		return &machine{
			name: name, decode: decodeARM64, longest: 4, align: 4, sp: 31,
			number: 8, args: [3]reg{0, 1, 2}, callArgs: [4]reg{0, 1, 2, 3}, result: 0,
			preserved: arm64Preserved[:], goZero: regNone, goArgs: [3]reg{0, 1, 2}, capget: 90, capset: 91,
		}
	case "amd64":
		return &machine{
			name: name, decode: decodeAMD64, longest: 15, align: 1, sp: 4,
			number: 0, args: [3]reg{7, 6, 2}, callArgs: [4]reg{7, 6, 2, 1}, result: 0,
			preserved: amd64Preserved[:], pushed: 8, goZero: vectorLow(15), goArgs: [3]reg{0, 3, 1}, capget: 125, capset: 126,
		}
	}
	return nil
}

// isCapability says that n is capget's or capset's number.
func (m *machine) isCapability(n uint64) bool { return n == m.capget || n == m.capset }

func (m *machine) syscallName(n uint64) string {
	if n == m.capset {
		return "capset"
	}
	return "capget"
}
