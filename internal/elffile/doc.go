// Package elffile reads the layout of an ELF file: the memory image, the symbols, the
// GOT slots and pointers that the dynamic loader fills, and the bounds of functions
// (.eh_frame, Go's pclntab).
//
// It works without section headers, which a program does not need to run. It decodes
// no instructions and does not decompress.
//
// The file is untrusted. The package takes types and constants from debug/elf, but
// parses the file itself: every size is checked against the file before use, and
// Limits bounds the costs.
//
// Sources: the System V gABI and psABIs, Linux Standard Base Core 5.0 (.eh_frame),
// Go's runtime/symtab.go.
package elffile
