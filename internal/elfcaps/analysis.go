package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/codescan"
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// sink is a place that ends in a kernel entry: calling it with such arguments
// is a capability call. Its values are in terms of the machine state at entry.
type sink struct {
	target                        uint64
	number, header, version, data value
	// via is how the kernel is entered.
	via string
	// at is the call within the function that made it a sink; zero for one that
	// enters the kernel itself.
	at sighting
	// looked says that its callers were looked for, reached that some were
	// seen.
	looked, reached bool
}

// opaque is a call whose system call number could not be read.
type opaque struct {
	sighting
	why string
}

// analysis is the work on one file.
type analysis struct {
	f      *elffile.File
	m      *isa.Machine
	limits Limits
	names  *interner
	p      *codescan.Program
	fns    *elffile.Functions
	steps  int
	// explain keeps trails.
	explain bool
	// effects turns on following what callees write through pointers.
	effects   bool
	summaries map[uint64]*summary
	depth     int
	// sinks is how many were added while tracing.
	sinks int
	// globals are header versions that code stores at fixed places, of the file's
	// data or the thread's.
	globals map[value]global
	// storesLegacy says that code stores a legacy header version somewhere.
	storesLegacy bool

	inline  *sink
	imports map[string]*sink
	sinksAt map[uint64][]*sink
	stubs   map[uint64]string
	// used are the imported functions of which some use was seen.
	used map[string]bool
	// handled are the pairs of call site and sink that are done with.
	handled map[handledKey]bool
	// taken says of each sink that was looked for pointers to whether there are
	// some.
	taken map[uint64]bool
	// entered are the functions that were interpreted, by start.
	entered map[uint64]bool

	found   []finding
	opaques []opaque
	// retry are sightings to look at again with effects.
	retry    []sighting
	consts   []uint64
	overflow string
	// possible says that the file has some way into the kernel at all.
	possible bool
}

type handledKey struct {
	pc, entry uint64
	sink      *sink
}

// finding is one capability call, resolved or not.
type finding struct {
	sighting
	syscall string
	abi     report.ABI
}

func newAnalysis(f *File) *analysis {
	m, p := f.Machine, codescan.NewProgram(f.File, f.limits.Sites)
	a := &analysis{
		f: f.File, m: m, limits: f.limits, names: newInterner(), steps: f.limits.Steps, p: p, fns: p.Functions,
		imports: map[string]*sink{}, sinksAt: map[uint64][]*sink{}, stubs: map[uint64]string{},
		used:    map[string]bool{},
		handled: map[handledKey]bool{}, entered: map[uint64]bool{}, taken: map[uint64]bool{}, summaries: map[uint64]*summary{}, globals: map[value]global{},
	}
	a.inline = a.primitive("inline", a.register(m.SyscallNumber), m.SyscallArgs)
	c := [3]isa.Reg{m.CallArgs[1], m.CallArgs[2], m.CallArgs[3]}
	a.imports["syscall"] = a.primitive("syscall", a.register(m.CallArgs[0]), c)
	c = [3]isa.Reg{m.CallArgs[0], m.CallArgs[1], m.CallArgs[2]}
	a.imports["capget"] = a.primitive("capget", constant(m.Capget), c)
	a.imports["capset"] = a.primitive("capset", constant(m.Capset), c)
	return a
}

func (a *analysis) register(r isa.Reg) value {
	return a.names.symbol(origin{kind: symbolRegister, reg: r})
}

func (a *analysis) primitive(via string, number value, args [3]isa.Reg) *sink {
	k := &sink{via: via, number: number, header: a.register(args[0]), data: a.register(args[1])}
	k.version = a.names.loaded(k.header, 4)
	return k
}

// sinksOf are the sinks that a call of v reaches.
func (a *analysis) sinksOf(v value) []*sink {
	switch v.kind {
	case kindConst:
		return a.sinksAt[uint64(v.off)]
	case kindSymbol:
		if o := a.names.origins[v.id]; o.kind == symbolImport && a.imports[o.name] != nil {
			return []*sink{a.imports[o.name]}
		}
	case kindSet:
		var all []*sink
		for _, alt := range a.names.sets[v.id] {
			all = append(all, a.sinksOf(alt)...)
		}
		return all
	}
	return nil
}

// calleeName is the name of an imported function that v stands for.
func (a *analysis) calleeName(v value) string {
	switch v.kind {
	case kindConst:
		return a.stubs[uint64(v.off)]
	case kindSymbol:
		if o := a.names.origins[v.id]; o.kind == symbolImport {
			return o.name
		}
	}
	return ""
}

// eval turns a value in terms of a callee's entry into one of the caller's at
// the call.
func (a *analysis) eval(s *state, v value, entrySP value) value {
	switch v.kind {
	case kindStack:
		return plus(entrySP, v.off)
	case kindSet:
		return a.names.each(v, func(alt value) value { return a.eval(s, alt, entrySP) })
	case kindSymbol:
		o := a.names.origins[v.id]
		switch o.kind {
		case symbolRegister:
			r := a.get(s, o.reg)
			return a.names.each(r, func(x value) value { return plus(x, v.off) })
		case symbolLoad:
			base := a.eval(s, o.base, entrySP)
			r := a.load(s, base, o.width)
			return a.names.each(r, func(x value) value { return plus(x, v.off) })
		case symbolImport, symbolThread:
			return v
		}
		return top
	}
	return v
}

// fromEntry says that a caller decides v: it is built from registers or stack
// slots at the function's entry.
func (a *analysis) fromEntry(v value) bool {
	switch v.kind {
	case kindSet:
		some := false
		for _, alt := range a.names.sets[v.id] {
			if alt.kind != kindConst && !a.fromEntry(alt) {
				return false
			}
			some = some || alt.kind != kindConst
		}
		return some
	case kindSymbol:
		o := a.names.origins[v.id]
		switch o.kind {
		case symbolRegister:
			return true
		case symbolLoad:
			return o.base.kind == kindStack && o.base.off >= 0 || o.base.kind == kindSymbol && a.fromEntry(o.base)
		}
	}
	return false
}

func knownHeader(v value) bool {
	return v.kind == kindConst && report.ABIOfHeader(uint32(v.off)) != report.ABIUnknown && uint64(v.off)>>32 == 0
}

// isCapabilityCall says that the number may be capget's or capset's.
func (a *analysis) isCapabilityCall(v value) bool {
	return slices.ContainsFunc(a.names.alternatives(v), func(x value) bool {
		return x.kind == kindConst && a.m.IsCapability(uint64(uint32(x.off)))
	})
}

// exhausted says that a limit was met after which nothing more is looked at.
func (a *analysis) exhausted() bool { return a.steps < 0 || a.f.Exhausted() }
