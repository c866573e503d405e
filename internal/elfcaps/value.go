package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// kind is what is known of a value.
type kind uint8

const (
	kindTop    kind = iota // nothing
	kindConst              // off
	kindStack              // the stack pointer at the function's entry, plus off
	kindSymbol             // symbol id, plus off
	kindSet                // one of the alternatives of set id
	kindKernel             // what the kernel wrote back as its preferred version
	kindLow                // the low 32 bits are off, those above unknown
	kindSmall              // not known, but of 16 bits at most: no header version
)

// value is an abstract value. It is comparable.
type value struct {
	kind kind
	id   uint32
	off  int64
}

var top = value{}

func constant(v uint64) value { return value{kind: kindConst, off: int64(v)} }

// low is a value of which only the low 32 bits are known.
func low(v uint64) value { return value{kind: kindLow, off: int64(uint32(v))} }

func (v value) isZero() bool { return v.kind == kindConst && v.off == 0 }

// symbolKind is where an unknown but named value comes from.
type symbolKind uint8

const (
	symbolRegister symbolKind = iota // of the function's entry
	symbolLoad                       // from memory that the function did not write
	symbolResult                     // of the call at pc
	symbolImport                     // the address of an imported function
	symbolThread                     // the thread pointer
)

// origin says what a symbol stands for. It is comparable, so that equal origins
// share one symbol.
type origin struct {
	kind  symbolKind
	reg   isa.Reg
	base  value
	width uint8
	depth uint8
	pc    uint64
	name  string
}

const (
	maxAlternatives = 4
	maxAlignment    = 4095 // of a pointer
	maxLoadDepth    = 4
	maxInterned     = 1 << 15
)

// names interns origins and sets of alternatives for one file.
type interner struct {
	origins []origin
	ids     map[origin]uint32
	sets    [][]value
	setIDs  map[[maxAlternatives]value]uint32
	// steps and what each made, by trail.
	steps    []trailStep
	made     []value
	trailIDs map[trailStep]trail
}

func newInterner() *interner {
	return &interner{ids: map[origin]uint32{}, setIDs: map[[maxAlternatives]value]uint32{}}
}

func (n *interner) symbol(o origin) value {
	id, ok := n.ids[o]
	if !ok {
		if len(n.origins) >= maxInterned {
			return top
		}
		id = uint32(len(n.origins))
		n.origins = append(n.origins, o)
		n.ids[o] = id
	}
	return value{kind: kindSymbol, id: id}
}

// loaded is the unknown content of width bytes at the address base.
func (n *interner) loaded(base value, width uint8) value {
	depth := uint8(1)
	if base.kind == kindSymbol {
		depth = n.origins[base.id].depth + 1
	}
	if depth > maxLoadDepth || base.kind == kindTop || base.kind == kindSet || base.kind == kindKernel {
		return top
	}
	return n.symbol(origin{kind: symbolLoad, base: base, width: width, depth: depth})
}

// alternatives returns what v may be.
func (n *interner) alternatives(v value) []value {
	if v.kind == kindSet {
		return n.sets[v.id]
	}
	return []value{v}
}

// either is the least value that stands for both a and b.
func (n *interner) either(a, b value) value {
	if a == b {
		return a
	}
	if a.kind == kindTop || b.kind == kindTop {
		return top
	}
	all := slices.Clone(n.alternatives(a))
	for _, v := range n.alternatives(b) {
		if !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	if len(all) > maxAlternatives {
		return top
	}
	slices.SortFunc(all, func(x, y value) int {
		if x.kind != y.kind {
			return int(x.kind) - int(y.kind)
		}
		if x.id != y.id {
			return int(int64(x.id) - int64(y.id))
		}
		switch {
		case x.off < y.off:
			return -1
		case x.off > y.off:
			return 1
		}
		return 0
	})
	var key [maxAlternatives]value
	copy(key[:], all)
	if len(all) == 1 {
		return all[0]
	}
	id, ok := n.setIDs[key]
	if !ok {
		if len(n.sets) >= maxInterned {
			return top
		}
		id = uint32(len(n.sets))
		n.sets = append(n.sets, all)
		n.setIDs[key] = id
	}
	return value{kind: kindSet, id: id}
}

// each applies f to every alternative of v and joins the results.
func (n *interner) each(v value, f func(value) value) value {
	if v.kind != kindSet {
		return f(v)
	}
	var out value
	for i, alt := range n.sets[v.id] {
		if r := f(alt); i == 0 {
			out = r
		} else {
			out = n.either(out, r)
		}
	}
	return out
}

// cut keeps width bytes of v.
func cut(v value, width uint8) value {
	if v.kind == kindLow && width <= 4 {
		v.kind = kindConst
	}
	if width >= 8 || v.kind != kindConst {
		return v
	}
	return constant(uint64(v.off) & (1<<(8*width) - 1))
}

// plus adds a constant to v.
func plus(v value, n int64) value {
	switch v.kind {
	case kindConst, kindStack, kindSymbol:
		v.off += n
		return v
	case kindLow:
		return low(uint64(v.off + n))
	}
	if n == 0 {
		return v
	}
	return top
}

// arith computes code on a and b, both without alternatives.
func arith(code isa.Opcode, a, b value, width uint8) value {
	if a.kind == kindConst && b.kind == kindConst {
		x, y := uint64(a.off), uint64(b.off)
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
		return cut(constant(r), width)
	}
	if (a.kind == kindLow || b.kind == kindLow) && (a.kind == kindLow || a.kind == kindConst) && (b.kind == kindLow || b.kind == kindConst) {
		r := arith(code, constant(uint64(uint32(a.off))), constant(uint64(uint32(b.off))), 8)
		return cut(low(uint64(r.off)), width)
	}
	switch {
	case code == isa.OpAdd && b.kind == kindConst, code == isa.OpOr && b.isZero(), code == isa.OpXor && b.isZero():
		return plus(a, b.off)
	case code == isa.OpSub && b.kind == kindConst:
		return plus(a, -b.off)
	case (code == isa.OpAdd || code == isa.OpOr || code == isa.OpXor) && a.kind == kindConst && (code == isa.OpAdd || a.off == 0):
		return plus(b, a.off)
	case code == isa.OpOrNot && a.isZero():
		return top
	case code == isa.OpAnd && b.kind == kindConst && (a.kind == kindStack || a.kind == kindSymbol && uint64(b.off) >= ^uint64(maxAlignment)):
		return a // aligning a pointer: close enough, as it is used alike throughout
	case code == isa.OpAnd && (b.isZero() || a.isZero()):
		return constant(0)
	case code == isa.OpAnd && b.kind == kindConst && uint64(b.off) >= 0xffffffff && uint64(b.off)&0xffffffff == 0xffffffff && a.kind == kindSymbol:
		return a
	}
	return top
}
