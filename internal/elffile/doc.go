// Package elffile opens ELF files and answers questions about their layout: the
// memory that the loader maps, the symbols, the GOT slots and pointers that the
// loader fills, and the bounds of functions (.eh_frame, Go's pclntab).
//
// It takes its constants from debug/elf and parses the file itself: it needs no
// section headers, and its costs are bounded by Limits. It decodes no code.
//
// The file is not trusted. Every size is checked against the file before it is
// used, and nothing is decompressed.
package elffile
