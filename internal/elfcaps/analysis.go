package elfcaps

import (
	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/codescan"
	"github.com/capvet/capvet/internal/report"
)

// unresolvedCall is a call whose system call number could not be read.
type unresolvedCall struct {
	absint.CallSite
	why string
}

// analysis is the work on one file.
type analysis struct {
	*absint.Interpreter
	p      *codescan.Program
	limits Limits
	// sinks is the number of functions that became sinks.
	sinks int
	// used are the imported functions with a use that was found.
	used map[string]bool
	// handled are the pairs of call site and sink that are done with.
	handled map[handledKey]bool
	// addressTaken holds the sinks that were searched for pointers, and whether there
	// are some.
	addressTaken map[uint64]bool
	// entered are the functions that were interpreted, by start.
	entered map[uint64]bool

	found           []finding
	unresolved      []unresolvedCall
	retry           []absint.CallSite // to interpret again with effects
	headerConstants []uint64
	overflow        string
	// possible reports whether the file has any way into the kernel.
	possible bool
}

type handledKey struct {
	pc, entry uint64
	sink      *absint.Sink
}

// finding is one capability call, resolved or not.
type finding struct {
	absint.CallSite
	syscall string
	abi     report.ABI
}

func newAnalysis(f *File) *analysis {
	p := codescan.NewProgram(f.File, f.limits.Sites)
	return &analysis{
		Interpreter: absint.New(f.File, p.Functions, p, f.limits.Steps), p: p, limits: f.limits,
		used: map[string]bool{}, handled: map[handledKey]bool{}, addressTaken: map[uint64]bool{}, entered: map[uint64]bool{},
	}
}
