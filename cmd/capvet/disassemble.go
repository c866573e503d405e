package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/arch/arm64/arm64asm"
	"golang.org/x/arch/x86/x86asm"
)

// disassemble returns the instruction at pc in GNU syntax; an unknown one as
// .byte and hexadecimal digits. It is not safe for concurrent use, as arm64asm is
// not.
func disassemble(machine string, code []byte, pc uint64) string {
	switch machine {
	case "arm64":
		if inst, err := arm64asm.Decode(code); err == nil {
			return absolute(arm64asm.GNUSyntax(inst), inst.Op == arm64asm.ADRP, pc)
		}
	case "amd64":
		if inst, err := x86asm.Decode(code, 64); err == nil && inst.Len == len(code) {
			return x86asm.GNUSyntax(inst, pc, nil)
		}
	}
	return ".byte " + hex.EncodeToString(code)
}

// absolute replaces the relative target in an arm64 instruction's text by its
// address.
func absolute(text string, page bool, pc uint64) string {
	before, distance, found := strings.Cut(text, ".+0x")
	if !found {
		return text
	}
	n, err := strconv.ParseUint(distance, 16, 64)
	if err != nil {
		return text
	}
	if page {
		pc &^= 0xfff
	}
	return fmt.Sprintf("%s%#x", before, pc+n)
}
