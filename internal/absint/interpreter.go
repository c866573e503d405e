package absint

import (
	"fmt"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// Interpreter interprets the functions of one file. It is not safe for concurrent use.
type Interpreter struct {
	File      *elffile.File
	Machine   *isa.Machine
	Functions *elffile.Functions
	code      Code
	Values    *Values
	// Inline is the sink of kernel entries, Imports the sinks of imported functions
	// by name, SinksAt those of functions and PLT entries by address.
	Inline  *Sink
	Imports map[string]*Sink
	SinksAt map[uint64][]*Sink
	// PLT maps PLT entries to the names of imported functions.
	PLT map[uint64]string
	// Explain turns on the recording of trails.
	Explain bool
	// FollowCallees turns on summaries of callees.
	FollowCallees bool
	summaries     map[uint64]*summary
	depth         int // of summaries that are being made
	// Globals are the stores of versions and of pointers to data, by fixed or thread-local address.
	Globals map[Value]Global
	// StoresLegacy reports whether any code stores a legacy header version.
	StoresLegacy bool
	steps        int // that are left
	// Cut is a limit of one function that was met: its calls may have other arguments. Else "".
	Cut string
}

func (a *Interpreter) cut(format string, args ...any) {
	if a.Cut == "" {
		a.Cut = fmt.Sprintf(format, args...)
	}
}

// Code resolves addresses outside of the function that is interpreted.
type Code interface {
	// LocalTarget returns the function of this file behind a PLT entry, else target
	// itself.
	LocalTarget(target uint64) uint64
	// Outline returns the bounds of the function that holds pc, found by decoding
	// from a call target below it.
	Outline(pc, from uint64) elffile.Span
}

// New returns an interpreter that performs at most steps instructions in all.
func New(f *elffile.File, fns *elffile.Functions, program Code, steps int) *Interpreter {
	m := f.Machine
	a := &Interpreter{
		File: f, Machine: m, Functions: fns, code: program, steps: steps,
		Values:  &Values{ids: map[Origin]uint32{}, setIDs: map[[maxAlternatives]Value]uint32{}},
		Imports: map[string]*Sink{}, SinksAt: map[uint64][]*Sink{}, PLT: map[uint64]string{},
		summaries: map[uint64]*summary{}, Globals: map[Value]Global{},
	}
	a.Inline = a.NewSink("inline", a.Register(m.SyscallNumber), m.SyscallArgs[0], m.SyscallArgs[1])
	c := m.CallArgs
	a.Imports["syscall"] = a.NewSink("syscall", a.Register(c[0]), c[1], c[2])
	a.Imports["capget"] = a.NewSink("capget", Const(m.Capget), c[0], c[1])
	a.Imports["capset"] = a.NewSink("capset", Const(m.Capset), c[0], c[1])
	return a
}
