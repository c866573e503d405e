package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// Sink is a place that ends in a kernel entry: calling it with such arguments
// is a capability call. Its values are in terms of the machine state at entry.
type Sink struct {
	Target                        uint64
	Number, Header, Version, Data Value
	// Via is how the kernel is entered.
	Via string
	// Site is the call within the function that made it a sink; zero for one that
	// enters the kernel itself.
	Site CallSite
	// CallersSought says that its callers were looked for, reached that some were
	// seen.
	CallersSought, Called bool
}

// CallSite is what a call passes, as seen at one place.
type CallSite struct {
	PC   uint64
	Sink *Sink
	// Span is the function, entered at entry.
	Span  elffile.Span
	Entry uint64
	// The values are in terms of the function's own entry.
	Number, Header, Version, Data Value
	// How number, header and version came to be.
	How [3]Trail
}

func (a *Interpreter) Register(r isa.Reg) Value {
	return a.Values.symbol(Origin{Kind: SymbolRegister, Reg: r})
}

func (a *Interpreter) NewSink(via string, number Value, args [3]isa.Reg) *Sink {
	k := &Sink{Via: via, Number: number, Header: a.Register(args[0]), Data: a.Register(args[1])}
	k.Version = a.Values.loaded(k.Header, 4)
	return k
}

// sinksOf are the sinks that a call of v reaches.
func (a *Interpreter) sinksOf(v Value) []*Sink {
	switch v.Kind {
	case KindConst:
		return a.SinksAt[uint64(v.Off)]
	case KindSymbol:
		if o := a.Values.Origin(v); o.Kind == SymbolImport && a.Imports[o.Name] != nil {
			return []*Sink{a.Imports[o.Name]}
		}
	case KindSet:
		var all []*Sink
		for _, alt := range a.Values.Alternatives(v) {
			all = append(all, a.sinksOf(alt)...)
		}
		return all
	}
	return nil
}

// calleeName is the name of an imported function that v stands for.
func (a *Interpreter) calleeName(v Value) string {
	switch v.Kind {
	case KindConst:
		return a.PLT[uint64(v.Off)]
	case KindSymbol:
		if o := a.Values.Origin(v); o.Kind == SymbolImport {
			return o.Name
		}
	}
	return ""
}

// eval turns a value in terms of a callee's entry into one of the caller's at
// the call.
func (a *Interpreter) eval(s *state, v Value, entrySP Value) Value {
	switch v.Kind {
	case KindStack:
		return Add(entrySP, v.Off)
	case KindSet:
		return a.Values.each(v, func(alt Value) Value { return a.eval(s, alt, entrySP) })
	case KindSymbol:
		o := a.Values.Origin(v)
		switch o.Kind {
		case SymbolRegister:
			r := a.get(s, o.Reg)
			return a.Values.each(r, func(x Value) Value { return Add(x, v.Off) })
		case SymbolLoad:
			base := a.eval(s, o.Base, entrySP)
			r := a.load(s, base, o.width)
			return a.Values.each(r, func(x Value) Value { return Add(x, v.Off) })
		case SymbolImport, SymbolThread:
			return v
		}
		return top
	}
	return v
}

// FromEntry says that a caller decides v: it is built from registers or stack
// slots at the function's entry.
func (a *Interpreter) FromEntry(v Value) bool {
	switch v.Kind {
	case KindSet:
		some := false
		for _, alt := range a.Values.Alternatives(v) {
			if alt.Kind != KindConst && !a.FromEntry(alt) {
				return false
			}
			some = some || alt.Kind != KindConst
		}
		return some
	case KindSymbol:
		o := a.Values.Origin(v)
		switch o.Kind {
		case SymbolRegister:
			return true
		case SymbolLoad:
			return o.Base.Kind == KindStack && o.Base.Off >= 0 || o.Base.Kind == KindSymbol && a.FromEntry(o.Base)
		}
	}
	return false
}

func KnownHeader(v Value) bool {
	return v.Kind == KindConst && report.ABIOfHeader(uint32(v.Off)) != report.ABIUnknown && uint64(v.Off)>>32 == 0
}

// IsCapabilityCall says that the number may be capget's or capset's.
func (a *Interpreter) IsCapabilityCall(v Value) bool {
	return slices.ContainsFunc(a.Values.Alternatives(v), func(x Value) bool {
		return x.Kind == KindConst && a.Machine.IsCapability(uint64(uint32(x.Off)))
	})
}

// Exhausted says that a limit was met after which nothing more is looked at.
func (a *Interpreter) Exhausted() bool { return a.steps < 0 || a.File.Exhausted() }
