package elfcaps

import (
	"github.com/capvet/capvet/internal/isa"
)

// count is how often a string instruction runs, -1 when that is not known.
func (a *analysis) count(s *state, r isa.Reg) int64 {
	if r == isa.RegNone {
		return 1
	}
	if v := a.get(s, r); v.kind == kindConst && v.off >= 0 && v.off <= maxLiteral {
		return v.off
	}
	return -1
}

// fill sets n elements of width bytes at addr to v.
func (a *analysis) fill(s *state, addr, v value, n int64, width uint8, by trail) {
	v = cut(v, width)
	if n < 0 {
		n = 1
		v = top
	}
	size := n * int64(width)
	if v.isZero() { // in larger pieces
		for off := int64(0); off < min(size, maxCopy*8); off += 8 {
			s.store(plus(addr, off), uint8(min(8, size-off)), v, by)
		}
		return
	}
	for i := range min(n, maxCopy) {
		s.store(plus(addr, i*int64(width)), width, v, by)
	}
}

// copy copies size bytes.
func (a *analysis) copy(s *state, to, from value, size int64, by trail) {
	size = min(size, maxCopy)
	var words [maxCopy / 8]value
	var how [maxCopy / 8]trail
	for off := int64(0); off < size; off += 8 {
		at, width := plus(from, off), uint8(copyWidth(size-off))
		words[off/8], how[off/8] = a.load(s, at, width), a.written(s, at, width)
	}
	for off := int64(0); off < size; off += 8 {
		s.store(plus(to, off), uint8(copyWidth(size-off)), words[off/8], a.names.both(by, how[off/8]))
	}
}

// copyWidth is the width of the next access for n bytes that are left.
func copyWidth(n int64) int64 {
	switch {
	case n >= 8:
		return 8
	case n >= 4:
		return 4
	case n >= 2:
		return 2
	}
	return 1
}

// lookedUp is the result of dlsym: the function that its second argument names,
// if that is one of interest.
func (a *analysis) lookedUp(s *state, other value) value {
	if v := a.get(s, a.m.CallArgs[1]); v.kind == kindConst {
		if name := a.f.String(uint64(v.off)); a.imports[name] != nil {
			return a.names.symbol(origin{kind: symbolImport, name: name})
		}
	}
	return other
}

// libraryCall models the functions of the C library that fill or copy memory.
func (a *analysis) libraryCall(s *state, name string, by trail) {
	x, y, z := a.get(s, a.m.CallArgs[0]), a.get(s, a.m.CallArgs[1]), a.get(s, a.m.CallArgs[2])
	known := z.kind == kindConst && z.off >= 0
	switch name {
	case "memset", "__memset_chk":
		if !known {
			z.off = 1
		}
		if y.isZero() {
			a.fill(s, x, y, z.off, 1, by)
		} else {
			a.fill(s, x, top, min(z.off, maxCopy)/4, 4, by)
		}
	case "bzero":
		if y.kind == kindConst && y.off >= 0 {
			a.fill(s, x, constant(0), y.off, 1, by)
		}
	case "memcpy", "memmove", "mempcpy", "__memcpy_chk", "__memmove_chk":
		if known {
			a.copy(s, x, y, z.off, by)
		}
	}
}

const maxLiteral = 4096 // bytes of one copy that is followed
