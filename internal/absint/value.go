package absint

import (
	"cmp"
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// Kind is the kind of an abstract value.
type Kind uint8

// Kinds of values.
const (
	KindTop    Kind = iota // unknown
	KindConst              // the number Off
	KindStack              // the stack pointer at the function's entry, plus Off
	KindSymbol             // symbol id, plus Off
	KindSet                // one of the alternatives of set id
	KindKernel             // the kernel's preferred version
	KindLow                // the low 32 bits are Off, the others unknown
	KindSmall              // unknown, at most 16 bits long: no header version
)

// Value is an abstract value. It is comparable.
type Value struct {
	Kind Kind
	id   uint32
	Off  int64
}

var top = Value{}

// Const returns the value of a constant.
func Const(v uint64) Value { return Value{Kind: KindConst, Off: int64(v)} }

// low returns a value with unknown bits above the low 32.
func low(v uint64) Value { return Value{Kind: KindLow, Off: int64(uint32(v))} }

func compare(v, w Value) int {
	if v.Kind == w.Kind && v.id == w.id {
		return cmp.Compare(v.Off, w.Off)
	}
	return cmp.Or(cmp.Compare(v.Kind, w.Kind), cmp.Compare(v.id, w.id))
}

// IsZero reports whether v is the constant 0.
func (v Value) IsZero() bool { return v.Kind == KindConst && v.Off == 0 }

// SymbolKind is the kind of an unknown value with a known origin.
type SymbolKind uint8

// Kinds of symbols.
const (
	SymbolRegister SymbolKind = iota // a register at the function's entry
	SymbolLoad                       // memory that the function has not written
	SymbolResult                     // the result of the call at PC
	SymbolImport                     // the address of an imported function
	SymbolThread                     // the thread pointer
)

// Origin is the origin of a symbol. Equal origins share one symbol.
type Origin struct {
	Kind  SymbolKind
	Reg   isa.Reg
	Base  Value
	width uint8
	depth uint8
	PC    uint64
	Name  string
}

// Limits of values.
const (
	maxAlternatives = 4
	maxAlignment    = 4095 // of a pointer
	maxLoadDepth    = 4
	maxInterned     = 1 << 15
	maxGlobals      = 1 << 10
)

// Values interns the origins of symbols and the sets of alternatives of one file.
type Values struct {
	origins []Origin
	ids     map[Origin]uint32
	sets    [][]Value
	setIDs  map[[maxAlternatives]Value]uint32
	// steps are the interned trail steps, made their most recent results.
	steps    []TrailStep
	made     []Value
	trailIDs map[TrailStep]Trail
	// full reports whether a value was dropped for want of room.
	full bool
}

// symbol returns the symbol of an origin.
func (n *Values) symbol(o Origin) Value {
	id, ok := n.ids[o]
	if !ok {
		if len(n.origins) >= maxInterned {
			n.full = true
			return top
		}
		id = uint32(len(n.origins))
		n.origins = append(n.origins, o)
		n.ids[o] = id
	}
	return Value{Kind: KindSymbol, id: id}
}

// Origin returns the origin of a symbol.
func (n *Values) Origin(v Value) Origin { return n.origins[v.id] }

// loaded returns the symbol of width bytes in memory at base.
func (n *Values) loaded(base Value, width uint8) Value {
	depth := uint8(1)
	if base.Kind == KindSymbol {
		depth = n.origins[base.id].depth + 1
	}
	if depth > maxLoadDepth || base.Kind == KindTop || base.Kind == KindSet || base.Kind == KindKernel {
		return top
	}
	return n.symbol(Origin{Kind: SymbolLoad, Base: base, width: width, depth: depth})
}

// Alternatives returns the possible values of v.
func (n *Values) Alternatives(v Value) []Value {
	if v.Kind == KindSet {
		return n.sets[v.id]
	}
	return []Value{v}
}

// Join returns the least upper bound of a and b.
func (n *Values) Join(a, b Value) Value {
	if a == b {
		return a
	}
	if a.Kind == KindTop || b.Kind == KindTop {
		return top
	}
	all := slices.Clone(n.Alternatives(a))
	for _, v := range n.Alternatives(b) {
		if !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	if len(all) > maxAlternatives {
		return top
	}
	slices.SortFunc(all, compare)
	var key [maxAlternatives]Value
	copy(key[:], all)
	id, ok := n.setIDs[key]
	if !ok {
		if len(n.sets) >= maxInterned {
			n.full = true
			return top
		}
		id = uint32(len(n.sets))
		n.sets = append(n.sets, all)
		n.setIDs[key] = id
	}
	return Value{Kind: KindSet, id: id}
}

// each applies f to every alternative of v and joins the results.
func (n *Values) each(v Value, f func(Value) Value) Value {
	if v.Kind != KindSet {
		return f(v)
	}
	out := f(n.sets[v.id][0])
	for _, alt := range n.sets[v.id][1:] {
		out = n.Join(out, f(alt))
	}
	return out
}

func (n *Values) addEach(v Value, off int64) Value {
	return n.each(v, func(alt Value) Value { return Add(alt, off) })
}

func (n *Values) truncateEach(v Value, width uint8) Value {
	return n.each(v, func(alt Value) Value { return Truncate(alt, width) })
}

// Truncate returns the low width bytes of v.
func Truncate(v Value, width uint8) Value {
	if v.Kind == KindLow && width <= 4 {
		v.Kind = KindConst
	}
	if width >= 8 || v.Kind != KindConst {
		return v
	}
	return Const(uint64(v.Off) & (1<<(8*width) - 1))
}

// Add returns v + n.
func Add(v Value, n int64) Value {
	switch v.Kind {
	case KindConst, KindStack, KindSymbol:
		v.Off += n
		return v
	case KindLow:
		return low(uint64(v.Off + n))
	}
	if n == 0 {
		return v
	}
	return top
}

// arith computes a binary operation on values without alternatives.
func arith(code isa.Opcode, a, b Value, width uint8) Value {
	if a.Kind == KindConst && b.Kind == KindConst {
		x, y := uint64(a.Off), uint64(b.Off)
		var r uint64
		switch code {
		case isa.OpAdd:
			r = x + y
		case isa.OpSub:
			r = x - y
		case isa.OpAnd:
			r = x & y
		case isa.OpOr:
			r = x | y
		case isa.OpXor:
			r = x ^ y
		case isa.OpAndNot:
			r = x &^ y
		case isa.OpOrNot:
			r = x | ^y
		default:
			return top
		}
		return Truncate(Const(r), width)
	}
	if (a.Kind == KindLow || b.Kind == KindLow) && (a.Kind == KindLow || a.Kind == KindConst) && (b.Kind == KindLow || b.Kind == KindConst) {
		r := arith(code, Const(uint64(uint32(a.Off))), Const(uint64(uint32(b.Off))), 8)
		return Truncate(low(uint64(r.Off)), width)
	}
	switch {
	case code == isa.OpAdd && b.Kind == KindConst, code == isa.OpOr && b.IsZero(), code == isa.OpXor && b.IsZero():
		return Add(a, b.Off)
	case code == isa.OpSub && b.Kind == KindConst:
		return Add(a, -b.Off)
	case (code == isa.OpAdd || code == isa.OpOr || code == isa.OpXor) && a.Kind == KindConst && (code == isa.OpAdd || a.Off == 0):
		return Add(b, a.Off)
	case code == isa.OpOrNot && a.IsZero():
		return top
	case code == isa.OpAnd && b.Kind == KindConst && (a.Kind == KindStack || a.Kind == KindSymbol && uint64(b.Off) >= ^uint64(maxAlignment)):
		return a // alignment of a pointer: an approximation, consistent within the function
	case code == isa.OpAnd && (b.IsZero() || a.IsZero()):
		return Const(0)
	case code == isa.OpAnd && b.Kind == KindConst && a.Kind == KindSymbol && uint64(b.Off)&0xffffffff == 0xffffffff:
		return a
	}
	return top
}
