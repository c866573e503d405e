package elfcaps

import (
	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/codescan"
	"github.com/capvet/capvet/internal/report"
)

// unresolvedCall is a call with an unknown system call number.
type unresolvedCall struct {
	absint.CallSite
	why string
}

// analysis is the analysis of one file.
type analysis struct {
	*absint.Interpreter
	p      *codescan.Program
	limits Limits
	// sinks counts the functions that became sinks.
	sinks int
	// used are the imported functions with a known use.
	used map[string]bool
	// handled are the pairs of call site and sink that have a verdict.
	handled map[handledKey]bool
	// addressTaken lists sinks whose pointers have been searched for: true if there are some.
	addressTaken map[uint64]bool
	// entered are the starts of the functions that have been interpreted.
	entered map[uint64]bool

	found           []finding
	unresolved      []unresolvedCall
	retry           []absint.CallSite // to interpret again, with summaries of callees
	headerConstants []uint64
	overflow        string
	// possible reports whether the file can enter the kernel at all.
	possible bool
}

type handledKey struct {
	pc, entry uint64
	sink      *absint.Sink
}

// finding is a capability call with its verdict.
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
