// Package codescan searches all code of a file without interpreting it: for system
// call instructions, calls and jumps, address computations, loads of GOT slots and
// constants that are capability header versions.
//
// It also decodes PLT entries, finds the bounds of functions without unwind
// information, and filters functions before their interpretation.
//
// The results are candidates. The bytes of an instruction may be data or part of
// another instruction.
//
// The code is untrusted. A pass reads at most elffile.Limits.CodeBytes; decoding
// spends elffile.Limits.Work.
package codescan
