// Package codescan searches the code of one file, from its first to its last byte,
// without interpreting it: for kernel entries, for calls and jumps to given
// addresses, for code that takes an address or loads a GOT slot, and for constants
// that are header versions.
//
// It recognises PLT entries, finds the bounds of functions that no table of the
// file has, and filters out functions that need no interpretation.
//
// Its results are candidates: bytes that read as an instruction may be data or part
// of another instruction. The code is not trusted; every pass costs at most
// elffile.Limits.CodeBytes.
package codescan
