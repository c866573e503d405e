package absint

import (
	"math/bits"
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// count returns the number of repetitions of a string instruction, -1 if unknown.
func (a *Interpreter) count(s *state, r isa.Reg) int64 {
	if r == isa.RegNone {
		return 1
	}
	if v := a.get(s, r); v.Kind == KindConst && v.Off >= 0 && v.Off <= maxLiteral {
		return v.Off
	}
	return -1
}

// fill models a store of n elements of width bytes.
func (a *Interpreter) fill(s *state, addr, v Value, n int64, width uint8, by Trail) {
	v = Truncate(v, width)
	if n < 0 {
		n, v = 1, top
	}
	size, piece := n*int64(width), int64(width)
	if v.IsZero() {
		piece = 8
	}
	for off := int64(0); off < min(size, maxCopy*piece); off += piece {
		s.store(Add(addr, off), uint8(min(piece, size-off)), v, by)
	}
}

// copy models a copy of size bytes.
func (a *Interpreter) copy(s *state, to, from Value, size int64, by Trail) {
	size = min(size, maxCopy)
	var words [maxCopy / 8]Value
	var how [maxCopy / 8]Trail
	for off := int64(0); off < size; off += 8 {
		at, width := Add(from, off), copyWidth(size-off)
		words[off/8], how[off/8] = a.load(s, at, width), a.written(s, at, width)
	}
	for off := int64(0); off < size; off += 8 {
		s.store(Add(to, off), copyWidth(size-off), words[off/8], a.Values.JoinTrails(by, how[off/8]))
	}
}

// copyWidth returns the next power of two, at most eight, to copy of n bytes.
func copyWidth(n int64) uint8 { return 1 << (bits.Len64(uint64(min(n, 8))) - 1) }

// lookedUp returns the result of dlsym: the sink named by the second argument, else other.
func (a *Interpreter) lookedUp(s *state, other Value) Value {
	if v := a.get(s, a.Machine.CallArgs[1]); v.Kind == KindConst {
		if name := a.File.String(uint64(v.Off)); a.Imports[name] != nil {
			return a.Values.symbol(Origin{Kind: SymbolImport, Name: name})
		}
	}
	return other
}

// libraryCall models functions of the C library that fill or copy memory.
func (a *Interpreter) libraryCall(s *state, name string, by Trail) {
	x, y, z := a.get(s, a.Machine.CallArgs[0]), a.get(s, a.Machine.CallArgs[1]), a.get(s, a.Machine.CallArgs[2])
	known := z.Kind == KindConst && z.Off >= 0
	switch name {
	case "memset", "__memset_chk":
		if !known {
			z.Off = 1
		}
		if y.IsZero() {
			a.fill(s, x, y, z.Off, 1, by)
		} else {
			a.fill(s, x, top, min(z.Off, maxCopy)/4, 4, by)
		}
	case "bzero":
		if y.Kind == KindConst && y.Off >= 0 {
			a.fill(s, x, Const(0), y.Off, 1, by)
		}
	case "memcpy", "memmove", "mempcpy", "__memcpy_chk", "__memmove_chk":
		if known {
			a.copy(s, x, y, z.Off, by)
		}
	}
}

// Models reports whether calls of the imported function have effects here.
func Models(name string) bool {
	return neverReturns(name) || slices.Contains([]string{
		"dlsym", tlsGetAddr, "memcpy", "memmove", "mempcpy", "memset", "bzero", "__memcpy_chk", "__memset_chk", "__memmove_chk",
	}, name)
}

// neverReturns reports whether the C function ends the program or jumps elsewhere.
func neverReturns(name string) bool {
	switch name {
	case "abort", "exit", "_exit", "_Exit", "quick_exit", "longjmp", "_longjmp", "siglongjmp", "__longjmp_chk",
		"__stack_chk_fail", "__assert_fail", "__chk_fail", "err", "errx", "verr", "verrx",
		"_Unwind_Resume", "__cxa_throw", "__cxa_rethrow":
		return true
	}
	return false
}
