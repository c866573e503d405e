// Package absint is an abstract interpreter of machine code. For one function at a
// time it computes an upper bound of the machine state at each instruction, and
// reports the arguments of every call of a sink, a function or instruction that
// ends in a kernel entry.
//
// Values form a lattice. A join of different values is the set of both, up to four
// alternatives; beyond that it is Top:
//
//	                   Top
//	                /       \
//	       {a,b,c,d}   ...   {a,b,c,e}
//	              \         /
//	          {a,b}   ...   {a,c}
//	         /     \       /     \
//	Const  Stack+n  Symbol+n  Kernel  Low  Small
//
// Const is a number, Stack the stack pointer at the function's entry plus an
// offset, Symbol an unknown value with a known origin (a register at the entry, a
// load, the result of a call, an imported function, the thread pointer) plus an
// offset, Kernel the version that the kernel writes back. Low has known low 32
// bits, Small at most 16 bits. There is no bottom: a block without a state is
// unreachable.
//
// A state holds the registers and the cells of memory that the function has
// written. Run puts basic blocks on a worklist, in order of address, and joins
// states along the edges of the control flow graph until they no longer change.
// Blocks that cannot reach a watched call site are skipped. The arguments of
// callers remain symbols, so that one interpretation serves all callers; with
// FollowCallees, calls apply the summary of the callee.
//
// The code is not trusted: steps, visits, cells and interned values are bounded.
package absint
