package isa

import (
	"debug/elf"
	"encoding/binary"
	"slices"
)

// Machine describes an architecture. Only the scanners of package codescan hold further facts.
type Machine struct {
	// Name is the GOARCH name, ELF the machine of 64-bit little-endian ELF files.
	Name string
	ELF  elf.Machine

	// Decode decodes the instruction at the start of code, which runs at pc. It
	// returns false if the instruction is invalid.
	Decode func(code []byte, pc uint64, in *Insn) bool
	// MaxLength is the maximum length of an instruction, Alignment the alignment
	// of instructions, both in bytes.
	MaxLength, Alignment int
	// EntersKernel reports whether code contains the bytes of a system call
	// instruction, at any alignment. The instruction has at most four bytes.
	EntersKernel func(code []byte) bool
	// LandingPads are the four-byte instructions without effect at the start of a
	// function (IBT, BTI and pointer authentication).
	LandingPads []uint32
	PLT         []PLTShape

	SP Reg
	// SyscallNumber and SyscallArgs are the registers of a system call, CallArgs
	// those of a C call. Result is the result register of both.
	SyscallNumber Reg
	SyscallArgs   [2]Reg
	CallArgs      [3]Reg
	Result        Reg
	// CalleeSaved are the registers that a C call preserves, SyscallClobbers the
	// registers that a system call overwrites besides Result.
	CalleeSaved, SyscallClobbers []Reg
	// CallPush is the size of the return address on the stack, in bytes.
	CallPush int64
	// GoZero is the low half of the vector register that is zero in Go code, or
	// RegNone. GoArgs are the first integer arguments of a Go function.
	GoZero Reg
	GoArgs [3]Reg
	// Capget and Capset are system call numbers.
	Capget, Capset uint64

	Relocations Relocations
	TLS         TLSLayout
}

// Relocations are the dynamic relocation types of an architecture.
type Relocations struct {
	Absolute, GlobDat, JumpSlot, Relative, IRelative uint32
	// TLSModuleOffset stores an offset in the file's TLS block, TLSOffset an offset
	// from the thread pointer, TLSDesc a TLS descriptor.
	TLSModuleOffset, TLSOffset, TLSDesc uint32
}

// TLSLayout is the layout of a main program's TLS block (Drepper, ELF Handling For Thread-Local Storage).
type TLSLayout struct {
	// Variant is 1 if the block starts after the thread pointer, 2 if it ends at
	// the thread pointer.
	Variant int
	// Header is the size in bytes of the thread control block, which precedes the
	// TLS block in variant 1.
	Header int64
}

// Start returns the offset of the TLS block (PT_TLS) from the thread pointer.
func (l TLSLayout) Start(size, align uint64) int64 {
	a := int64(max(align, 1))
	up := func(n int64) int64 { return (n + a - 1) / a * a }
	if l.Variant == 1 {
		return up(l.Header)
	}
	return -up(int64(size))
}

// PLTShape describes a PLT entry up to the instruction that refers to its GOT slot.
type PLTShape struct {
	// Size is the number of bytes before the instruction.
	Size uint64
	// Lead, if not empty, is at LeadSize bytes before the instruction.
	Lead     string
	LeadSize uint64
}

// General registers of amd64, by their encoding.
const (
	rax Reg = iota
	rcx
	rdx
	rbx
	rsp
	rbp
	rsi
	rdi

	r11, r12, r13, r14, r15 Reg = 11, 12, 13, 14, 15
)

const amd64MaxLength = 15

// arm64SPReg is SP; other operands of instructions encode RegZero with this number.
const arm64SPReg Reg = 31

// Machines returns the supported architectures.
func Machines() []*Machine { return []*Machine{amd64Machine(), arm64Machine()} }

// For returns the architecture with the GOARCH name, or nil if it is unsupported.
func For(name string) *Machine {
	for _, m := range Machines() {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Source of system call numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl.
func amd64Machine() *Machine {
	const moldLead = "\x41\xbb" // mov $index, %r11d: the mold linker
	return &Machine{
		Name: "amd64", ELF: elf.EM_X86_64,
		Decode: decodeAMD64, MaxLength: amd64MaxLength, Alignment: 1,
		EntersKernel: amd64EntersKernel,
		LandingPads:  []uint32{0xfa1e0ff3}, // endbr64
		PLT: []PLTShape{
			{}, {Size: 1}, {Size: 4}, {Size: 5},
			{Size: 6, Lead: moldLead, LeadSize: 6}, {Size: 10, Lead: moldLead, LeadSize: 6},
		},
		SP: rsp, SyscallNumber: rax, SyscallArgs: [2]Reg{rdi, rsi}, CallArgs: [3]Reg{rdi, rsi, rdx}, Result: rax,
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

// Source of system call numbers: Linux, include/uapi/asm-generic/unistd.h.
func arm64Machine() *Machine {
	return &Machine{
		Name: "arm64", ELF: elf.EM_AARCH64,
		Decode: decodeARM64, MaxLength: 4, Alignment: 4,
		EntersKernel: arm64EntersKernel,
		LandingPads:  []uint32{0xd503245f, 0xd503233f, 0xd503237f},                     // bti c, paciasp, pacibsp
		PLT:          []PLTShape{{}, {Size: 4, Lead: "\x5f\x24\x03\xd5", LeadSize: 4}}, // bti c
		SP:           arm64SPReg, SyscallNumber: 8, SyscallArgs: [2]Reg{0, 1}, CallArgs: [3]Reg{0, 1, 2}, Result: 0,
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

// FixedLength reports whether instructions have one length: decoding can start at any of them.
func (m *Machine) FixedLength() bool { return m.MaxLength == m.Alignment }

// IsLandingPad reports whether code is one of LandingPads.
func (m *Machine) IsLandingPad(code []byte) bool {
	return len(code) == 4 && slices.Contains(m.LandingPads, binary.LittleEndian.Uint32(code))
}

// IsCapability reports whether n is the number of capget or capset.
func (m *Machine) IsCapability(n uint64) bool { return n == m.Capget || n == m.Capset }

// SyscallName returns "capget" or "capset". n satisfies IsCapability.
func (m *Machine) SyscallName(n uint64) string {
	if n == m.Capset {
		return "capset"
	}
	return "capget"
}
