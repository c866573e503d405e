package elfcaps

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// Evidence lists the instructions and data that determine one call's verdict.
type Evidence struct {
	// Call is the call in the report. Reason is set, and Call.Syscall empty, for a
	// call with an unknown number.
	Call   report.Call
	Reason string
	// Functions are those from the call to the kernel entry or import, then any
	// other function with a part in a value.
	Functions []Function
	// Data are bytes of the file that a value is read from.
	Data []Datum
}

// Function is a function with an excerpt of its instructions.
type Function struct {
	// Name is empty without a symbol.
	Name       string
	Start, End uint64
	// Lines are in order of address, with gaps.
	Lines []Line
}

// Line is one instruction.
type Line struct {
	Address uint64
	Code    []byte
	Notes   []Note
}

// Note is the part of an instruction in the call.
type Note struct {
	Role Role
	// Text is the resulting value, or the callee.
	Text string
}

// Role is the argument that an instruction determines, or the call itself.
type Role string

// Roles.
const (
	RoleNumber  Role = "number"  // of the system call
	RoleHeader  Role = "header"  // its address
	RoleVersion Role = "version" // in the header
	RoleCall    Role = "call"
)

// Datum is a word of the file's data.
type Datum struct {
	Address uint64
	Symbol  string
	Code    []byte
	Notes   []Note
}

const (
	maxEvidence = 64 // calls
	around      = 2  // instructions before and after each noted one
	maxLines    = 64 // of one function
)

// Explain returns the verdict of Capset with its evidence. It takes several times as long.
func (f *File) Explain() (report.Capset, []Evidence) {
	out, a := f.judge(true)
	if a == nil {
		return out, nil
	}
	var all []Evidence
	for i, x := range a.found[:min(len(a.found), maxEvidence)] {
		all = append(all, a.evidence(x.CallSite, out.Calls[i], ""))
	}
	if out.ABI == report.ABIUnknown {
		for _, o := range a.unresolved[:min(len(a.unresolved), maxEvidence-len(all))] {
			all = append(all, a.evidence(o.CallSite, report.Call{Address: fmt.Sprintf("%#x", o.PC)}, o.why))
		}
	}
	return out, all
}

// exhibit collects the evidence of one call.
type exhibit struct {
	a     *analysis
	notes map[uint64][]Note
	data  map[uint64][]Note
	seen  map[absint.Trail]bool
}

func (a *analysis) evidence(g absint.CallSite, call report.Call, reason string) Evidence {
	x := &exhibit{a: a, notes: map[uint64][]Note{}, data: map[uint64][]Note{}}
	for i, role := range []Role{RoleNumber, RoleHeader, RoleVersion} {
		x.seen = map[absint.Trail]bool{}
		x.follow(g.How[i], role)
	}
	spans := []elffile.Span{g.Span}
	x.call(g.PC, g.Sink)
	for k := g.Sink; k != nil && k.Site.Sink != nil; k = k.Site.Sink {
		spans = append(spans, k.Site.Span)
		x.call(k.Site.PC, k.Site.Sink)
	}
	return Evidence{Call: call, Reason: reason, Functions: x.functions(spans), Data: x.datums()}
}

// follow notes every step of a trail.
func (x *exhibit) follow(t absint.Trail, role Role) {
	if t == 0 || x.seen[t] {
		return
	}
	x.seen[t] = true
	s, made := x.a.Values.Step(t)
	switch {
	case s.Data != 0:
		x.data[s.Data] = addNote(x.data[s.Data], Note{role, x.a.words(role, made)})
	case s.PC != 0:
		text := x.a.words(role, made)
		if s.Place.Kind != absint.KindTop {
			text += " to " + x.a.words(RoleHeader, s.Place)
		}
		x.notes[s.PC] = addNote(x.notes[s.PC], Note{role, text})
	}
	for _, from := range s.From {
		x.follow(from, role)
	}
}

func addNote(notes []Note, n Note) []Note {
	if slices.Contains(notes, n) {
		return notes
	}
	return append(notes, n)
}

// call notes the call of a sink, nil for a call without a known one.
func (x *exhibit) call(pc uint64, k *absint.Sink) {
	text := "not followed"
	switch {
	case k == nil:
	case k.Site.Sink != nil && k.Via == "inline":
		text = fmt.Sprintf("the function at %#x", k.Target)
	case k.Site.Sink != nil:
		text = fmt.Sprintf("%s, the function at %#x", k.Via, k.Target)
	case k.Via == "inline":
		text = "enters the kernel"
	default:
		text = k.Via
	}
	x.notes[pc] = addNote(x.notes[pc], Note{RoleCall, text})
}

// words describes a value by its role.
func (a *analysis) words(role Role, v absint.Value) string {
	switch v.Kind {
	case absint.KindConst:
		n := uint64(v.Off)
		switch {
		case role == RoleNumber && a.Machine.IsCapability(n):
			return fmt.Sprintf("%d, %s", n, a.Machine.SyscallName(n))
		case role == RoleNumber:
			return fmt.Sprint(n)
		case role == RoleVersion && absint.KnownHeader(absint.Truncate(v, 4)):
			return fmt.Sprintf("%#x, %s", uint32(n), report.ABIOfHeader(uint32(n)))
		}
		return fmt.Sprintf("%#x", n)
	case absint.KindLow:
		return a.words(role, absint.Truncate(v, 4))
	case absint.KindStack:
		return fmt.Sprintf("stack%+#x", v.Off)
	case absint.KindKernel:
		return "what the kernel prefers"
	case absint.KindSymbol:
		switch o := a.Values.Origin(v); o.Kind {
		case absint.SymbolResult:
			return fmt.Sprintf("the result of the call at %#x%s", o.PC, offset(v.Off))
		case absint.SymbolThread:
			return "thread" + offset(v.Off)
		case absint.SymbolImport:
			return "the address of " + o.Name
		case absint.SymbolRegister:
			return "the caller's" + offset(v.Off)
		default:
			return "read from " + a.words(RoleHeader, o.Base)
		}
	case absint.KindSet:
		var all []string
		for _, alt := range a.Values.Alternatives(v) {
			all = append(all, a.words(role, alt))
		}
		return strings.Join(all, " or ")
	}
	return "not read"
}

func offset(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%+#x", n)
}

// functions groups the notes by function: first those from the call to the kernel.
func (x *exhibit) functions(way []elffile.Span) []Function {
	left := slices.Sorted(maps.Keys(x.notes))
	var out []Function
	var done []elffile.Span
	take := func(s elffile.Span) {
		if slices.Contains(done, s) {
			return
		}
		done = append(done, s)
		var here []uint64
		left = slices.DeleteFunc(left, func(pc uint64) bool {
			if s.Holds(pc) {
				here = append(here, pc)
			}
			return s.Holds(pc)
		})
		if len(here) > 0 {
			out = append(out, Function{Start: s.Start, End: s.End, Lines: x.lines(s, here)})
		}
	}
	for _, s := range way {
		take(s)
	}
	for len(left) > 0 {
		pc := left[0]
		s := x.a.Functions.At(pc)
		if s.End == 0 {
			s = x.a.File.FunctionSymbols(left[:1])[0]
		}
		if !s.Holds(pc) {
			s = elffile.Span{Start: pc, End: pc + uint64(x.a.Machine.MaxLength)}
		}
		take(s)
	}
	var starts []uint64
	for _, f := range out {
		starts = append(starts, f.Start)
	}
	names := x.a.File.NamesOf(starts)
	for i, f := range out {
		out[i].Name = cmp.Or(names[f.Start], x.a.Functions.GoName(f.Start))
	}
	return out
}

// lines returns the instructions at the places, with two before and after each.
func (x *exhibit) lines(s elffile.Span, places []uint64) []Line {
	code := slices.Clone(x.a.File.FunctionCode(s))
	var all []Line
	at := uint64(0)
	var in isa.Insn
	for i := 0; at < uint64(len(code)) && x.a.File.Spend(1); {
		pc := s.Start + at
		n := uint64(x.a.Machine.Alignment)
		if x.a.Machine.Decode(code[at:], pc, &in) {
			n = uint64(in.Length)
		}
		for i < len(places) && places[i] < pc {
			i++
		}
		if i < len(places) && places[i] < pc+n && places[i] > pc {
			n = places[i] - pc // data among the code misled the decoder
		}
		all = append(all, Line{Address: pc, Code: code[at:min(at+n, uint64(len(code)))], Notes: x.notes[pc]})
		at += n
	}
	var out []Line
	next := 0
	for i := range all {
		if len(all[i].Notes) == 0 {
			continue
		}
		slices.SortFunc(all[i].Notes, func(p, q Note) int { return cmp.Or(cmp.Compare(p.Role, q.Role), cmp.Compare(p.Text, q.Text)) })
		for next = max(next, i-around); next <= min(len(all)-1, i+around) && len(out) < maxLines; next++ {
			out = append(out, all[next])
		}
	}
	return out
}

// datums returns the noted data, by address.
func (x *exhibit) datums() (out []Datum) {
	addrs := slices.Sorted(maps.Keys(x.data))
	names := x.a.File.NamesOf(addrs)
	for _, addr := range addrs {
		out = append(out, Datum{addr, names[addr], slices.Clone(x.a.File.Bytes(addr, 8)), x.data[addr]})
	}
	return out
}
