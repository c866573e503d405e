// Package isa decodes the machine code of amd64 and arm64 into micro-operations,
// so that one interpreter serves both. It also holds all other facts about an
// architecture, in one record: Machine.
//
// The decoders model calls, jumps, system calls and the instructions that compute,
// move or store constants and addresses. Any other instruction makes its
// destination registers unknown (OpKill). The package is no disassembler: it has
// neither mnemonics nor flags nor floating point.
//
// The code is untrusted. A decoder reads only its input slice, allocates no memory
// and shares no state.
//
// Sources: Intel SDM volume 2, Arm ARM (DDI 0487), the System V psABIs of both
// architectures and Linux's system call tables.
package isa
