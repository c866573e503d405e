// Package elfcaps reads one ELF file of arm64 or amd64 and reports the capability
// system calls in its code, each with the header version that it passes.
//
//	isa       instructions as micro-operations, and the facts of each architecture
//	elffile   the file: memory, symbols, GOT slots, function bounds
//	codescan  passes over all code: kernel entries, calls, PLT entries
//	absint    interpretation of one function: the arguments of its calls
//	elfcaps   from call sites to a verdict and its evidence
//
// A sink is a function or instruction that ends in a kernel entry: libc's syscall
// behind a PLT entry, an inline instruction, a local wrapper. A call of a sink with
// the number of capget or capset is a capability call. If the number or the header
// comes from a function's own caller, the function becomes a sink itself.
//
// The package names no products and judges no policy, and it does not prove that a
// call ever runs. Constants that no call passes have no effect. It follows code as
// compilers generate it: a program written to deceive it can do so.
//
// The file is not trusted. Limits bound time and memory for any content. No function
// here touches shared state, so Files may be analysed concurrently.
package elfcaps
