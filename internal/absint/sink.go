package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// Sink is a function or instruction that ends in a kernel entry, so that a call of
// it with certain arguments is a capability call. Its values are relative to the
// machine state at its entry.
type Sink struct {
	Target uint64
	Arguments
	// Via names the kernel entry: "inline", or the function of the C library.
	Via string
	// Site is the call that made the function a sink; zero for a sink that enters
	// the kernel itself.
	Site CallSite
	// CallersSought reports whether the callers have been searched for, Called
	// whether one has been found.
	CallersSought, Called bool
}

// Arguments are those of a capability call: the system call number, the pointers to the
// header and the data, and the first word of the header.
type Arguments struct{ Number, Header, Data, Version Value }

// CallSite is one call of a sink, with its arguments.
type CallSite struct {
	PC   uint64
	Sink *Sink
	// Span is the calling function, interpreted from Entry.
	Span      elffile.Span
	Entry     uint64
	Arguments // relative to the machine state at Entry
	// How are the trails of Number, Header and Version.
	How [3]Trail
}

// Register returns the value of a register at the function's entry.
func (a *Interpreter) Register(r isa.Reg) Value {
	return a.Values.symbol(Origin{Kind: SymbolRegister, Reg: r})
}

// NewSink returns a sink that takes its header and data pointers from two registers.
func (a *Interpreter) NewSink(via string, number Value, header, data isa.Reg) *Sink {
	args := Arguments{Number: number, Header: a.Register(header), Data: a.Register(data)}
	args.Version = a.Values.loaded(args.Header, 4)
	return &Sink{Via: via, Arguments: args}
}

// sinksOf returns the sinks that a call of v reaches.
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

// calleeName returns the name of the imported function at v, "" without one.
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

// eval translates a value relative to a callee's entry into the caller's terms.
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
			return a.Values.addEach(a.get(s, o.Reg), v.Off)
		case SymbolLoad:
			return a.Values.addEach(a.load(s, a.eval(s, o.Base, entrySP), o.width), v.Off)
		case SymbolImport, SymbolThread:
			return v
		}
		return top
	}
	return v
}

// FromEntry reports whether v is derived from registers or stack slots at the entry.
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

// KnownHeader reports whether v is the constant of a header version.
func KnownHeader(v Value) bool {
	return v.Kind == KindConst && report.ABIOfHeader(uint32(v.Off)) != report.ABIUnknown && uint64(v.Off)>>32 == 0
}

// IsCapabilityCall reports whether v may be the number of capget or capset.
func (a *Interpreter) IsCapabilityCall(v Value) bool {
	return slices.ContainsFunc(a.Values.Alternatives(v), func(x Value) bool {
		return x.Kind == KindConst && a.Machine.IsCapability(uint64(uint32(x.Off)))
	})
}

// Exhausted reports whether a limit is used up.
func (a *Interpreter) Exhausted() bool { return a.steps < 0 || a.File.Exhausted() }
