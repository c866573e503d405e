package isa

import (
	"debug/elf"
	"encoding/binary"
	"slices"
)

// Machine holds every fact about an architecture that depends on neither the file
// nor the analysis. machines lists the complete records; there is no other place
// that tells architectures apart, except for the scanners of package codescan.
type Machine struct {
	// Name is Go's name of the architecture, ELF its number in ELF headers. Files
	// are 64-bit and little-endian.
	Name string
	ELF  elf.Machine

	// Decode decodes the instruction at the start of code; false when it is not a
	// valid one. It neither allocates nor touches shared state.
	Decode func(code []byte, pc uint64, in *Insn) bool
	// MaxLength is the length of the longest instruction, Alignment the alignment
	// of every instruction, both in bytes.
	MaxLength, Alignment int
	// EntersKernel reports whether code contains the bytes of the instruction that
	// enters the kernel. An entry is at most four bytes long.
	EntersKernel func(code []byte) bool
	// LandingPads are the four-byte instructions without effect that may begin a
	// function.
	LandingPads []uint32
	// PLT lists the shapes of a PLT entry.
	PLT []PLTShape

	SP Reg
	// SyscallNumber and SyscallArgs are the registers of a system call, CallArgs
	// those of a C call; Result is that of both.
	SyscallNumber Reg
	SyscallArgs   [3]Reg
	CallArgs      [4]Reg
	Result        Reg
	// CalleeSaved are the registers that a C call preserves, SyscallClobbers those
	// other than Result that a system call overwrites.
	CalleeSaved, SyscallClobbers []Reg
	// CallPush is the number of bytes that a call pushes.
	CallPush int64
	// GoZero is the low half of the vector register that holds zero in Go code,
	// regNone without one. GoArgs are the first integer arguments of a Go function.
	GoZero Reg
	GoArgs [3]Reg
	// Capget and Capset are system call numbers.
	Capget, Capset uint64

	Relocations Relocations
	TLS         TLSLayout
}

// Relocations are the relocation types of one architecture.
type Relocations struct {
	Absolute, GlobDat, JumpSlot, Relative, IRelative uint32
	// TLSModuleOffset is an offset within the file's TLS block, TLSOffset one from
	// the thread pointer, TLSDesc a descriptor.
	TLSModuleOffset, TLSOffset, TLSDesc uint32
}

// TLSLayout places the TLS block of the main program (ELF TLS ABI).
type TLSLayout struct {
	// Variant is 1 where the block follows the thread pointer, 2 where it ends
	// at it.
	Variant int
	// Header is the size of the thread control block that precedes the block in
	// variant 1, in bytes.
	Header int64
}

// Start returns the start of a TLS block of size bytes, as an offset from the
// thread pointer.
func (l TLSLayout) Start(size, align uint64) int64 {
	a := int64(max(align, 1))
	up := func(n int64) int64 { return (n + a - 1) / a * a }
	if l.Variant == 1 {
		return up(l.Header)
	}
	return -up(int64(size))
}

// PLTShape is the beginning of a PLT entry, before the instruction that refers to
// the entry's GOT slot.
type PLTShape struct {
	// Size is the number of bytes before that instruction: of a landing pad, of a
	// prefix.
	Size uint64
	// If Lead is not empty, it must stand LeadSize bytes before the instruction.
	Lead     string
	LeadSize uint64
}

// Registers of amd64, by their number in instructions.
const (
	rax Reg = iota
	rcx
	rdx
	rbx
	rsp
	rbp
	rsi
	rdi
	r11 Reg = 11
	r12 Reg = 12
	r13 Reg = 13
	r14 Reg = 14
	r15 Reg = 15
)

// arm64SPReg is the number of SP where an instruction does not read it as zero.
const arm64SPReg Reg = 31

// Machines returns the architectures whose code is read.
func Machines() []*Machine { return []*Machine{amd64Machine(), arm64Machine()} }

// For returns the architecture of that GOARCH name, nil when its code is
// not read.
func For(name string) *Machine {
	for _, m := range Machines() {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// amd64Machine returns the record of amd64 (System V psABI; system call numbers of
// arch/x86/entry/syscalls/syscall_64.tbl).
func amd64Machine() *Machine {
	const moldLead = "\x41\xbb" // mov $imm, %r11d: the linker mold begins an entry with the slot's index
	return &Machine{
		Name: "amd64", ELF: elf.EM_X86_64,
		Decode: decodeAMD64, MaxLength: 15, Alignment: 1,
		EntersKernel: amd64EntersKernel,
		LandingPads:  []uint32{0xfa1e0ff3}, // endbr64
		PLT: []PLTShape{
			{}, {Size: 1}, {Size: 4}, {Size: 5},
			{Size: 6, Lead: moldLead, LeadSize: 6}, {Size: 10, Lead: moldLead, LeadSize: 6},
		},
		SP: rsp, SyscallNumber: rax, SyscallArgs: [3]Reg{rdi, rsi, rdx}, CallArgs: [4]Reg{rdi, rsi, rdx, rcx}, Result: rax,
		CalleeSaved: []Reg{rbx, rbp, r12, r13, r14, r15}, SyscallClobbers: []Reg{rcx, r11}, CallPush: 8,
		GoZero: vectorLow(15), GoArgs: [3]Reg{rax, rbx, rcx},
		Capget: 125, Capset: 126,
		Relocations: Relocations{
			Absolute: uint32(elf.R_X86_64_64), GlobDat: uint32(elf.R_X86_64_GLOB_DAT), JumpSlot: uint32(elf.R_X86_64_JMP_SLOT),
			Relative: uint32(elf.R_X86_64_RELATIVE), IRelative: uint32(elf.R_X86_64_IRELATIVE),
			TLSModuleOffset: uint32(elf.R_X86_64_DTPOFF64), TLSOffset: uint32(elf.R_X86_64_TPOFF64), TLSDesc: uint32(elf.R_X86_64_TLSDESC),
		},
		TLS: TLSLayout{Variant: 2},
	}
}

// arm64Machine returns the record of arm64 (AAPCS64; system call numbers of
// asm-generic/unistd.h).
func arm64Machine() *Machine {
	return &Machine{
		Name: "arm64", ELF: elf.EM_AARCH64,
		Decode: decodeARM64, MaxLength: 4, Alignment: 4,
		EntersKernel: arm64EntersKernel,
		LandingPads:  []uint32{0xd503245f, 0xd503233f, 0xd503237f},                     // bti c, paciasp, pacibsp
		PLT:          []PLTShape{{}, {Size: 4, Lead: "\x5f\x24\x03\xd5", LeadSize: 4}}, // bti c
		SP:           arm64SPReg, SyscallNumber: 8, SyscallArgs: [3]Reg{0, 1, 2}, CallArgs: [4]Reg{0, 1, 2, 3}, Result: 0,
		CalleeSaved: []Reg{19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29},
		GoZero:      RegNone, GoArgs: [3]Reg{0, 1, 2},
		Capget: 90, Capset: 91,
		Relocations: Relocations{
			Absolute: uint32(elf.R_AARCH64_ABS64), GlobDat: uint32(elf.R_AARCH64_GLOB_DAT), JumpSlot: uint32(elf.R_AARCH64_JUMP_SLOT),
			Relative: uint32(elf.R_AARCH64_RELATIVE), IRelative: uint32(elf.R_AARCH64_IRELATIVE),
			TLSModuleOffset: uint32(elf.R_AARCH64_TLS_DTPREL64), TLSOffset: uint32(elf.R_AARCH64_TLS_TPREL64),
			TLSDesc: uint32(elf.R_AARCH64_TLSDESC),
		},
		TLS: TLSLayout{Variant: 1, Header: 16},
	}
}

// FixedLength reports whether all instructions have the same length, so that
// decoding may begin at any aligned address.
func (m *Machine) FixedLength() bool { return m.MaxLength == m.Alignment }

// IsLandingPad reports whether code is one of LandingPads.
func (m *Machine) IsLandingPad(code []byte) bool {
	return len(code) == 4 && slices.Contains(m.LandingPads, binary.LittleEndian.Uint32(code))
}

// IsCapability reports whether n is the number of capget or capset.
func (m *Machine) IsCapability(n uint64) bool { return n == m.Capget || n == m.Capset }

// SyscallName returns the name of the capability call with number n.
func (m *Machine) SyscallName(n uint64) string {
	if n == m.Capset {
		return "capset"
	}
	return "capget"
}
