// Package elfcaps reads one ELF file and says which capability system calls its
// code makes and which header version each passes, on arm64 and amd64.
//
// The way of a file:
//
//	container, memory, dynamic, symbols   the frame, bounded and checked
//	scan                                  places that may enter the kernel
//	bounds, gotable, locate               the functions they lie in
//	relevant                              those whose number is not plainly another
//	arm64, amd64 -> ir -> interpret, step values followed along every path
//	resolve, trace                        a verdict, or on to the callers
//	stubs, threads                        what linkage and thread-local data stand for
//	doubt                                 what the file could pass where a call was not read
//	capset                                the report's values
//	provenance, evidence                  what they were read from, for a person
//
// A sink is a place that ends in a kernel entry: libc's syscall function behind
// a linkage stub, an inline instruction, a local wrapper. Calling it with given
// arguments is a capability call. Where a function's own caller decides the
// number or the header, the function becomes a sink itself.
//
// It is not for naming products or judging policy, and it does not prove that a
// call ever runs. Constants that no call passes mean nothing to it. It follows
// what a compiler makes of ordinary code: someone who writes a program to
// deceive it can do so.
//
// The file is not trusted. Every size is checked against the file before it is
// used, nothing is decompressed, and Limits bound time and memory for any bytes.
// No function here touches shared state: Files may be judged concurrently.
package elfcaps
