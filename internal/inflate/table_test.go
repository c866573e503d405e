package inflate

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestBuild: the tables of random codes decode every code word, whatever bits follow.
func TestBuild(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	kinds := []struct {
		primary uint
		entries int
		symbols int
	}{{literalBits, literalEntries, maxLiterals}, {distanceBits, distanceEntries, maxDistances}, {lengthBits, lengthEntries, 19}}
	for range 500 {
		kind := kinds[random.IntN(len(kinds))]
		deepest := uint8(maxCodeBits)
		if kind.primary == lengthBits {
			deepest = lengthBits
		}
		lengths := randomCode(random, kind.symbols, deepest)
		table := make([]uint32, kind.entries)
		if !build(table, kind.primary, lengths, plainSymbols()) {
			t.Fatalf("no code: %v", lengths)
		}
		if err := findAll(random, table, kind.primary, lengths); err != nil {
			t.Fatalf("%v of %v", err, lengths)
		}
		// With one code word less or more it is not a code.
		at := random.IntN(len(lengths))
		was := lengths[at]
		lengths[at] = (was + 1 + uint8(random.UintN(uint(deepest)))) % (deepest + 1)
		if lengths[at] != was && build(table, kind.primary, lengths, plainSymbols()) && !single(lengths) {
			t.Fatalf("a code, though symbol %d was changed: %v", at, lengths)
		}
	}
}

// single reports whether a code has no code word, or one of one bit.
func single(lengths []uint8) bool {
	sum := 0
	for _, l := range lengths {
		sum += int(l)
	}
	return sum <= 1
}

// randomCode returns the lengths of a code: an inner node becomes two leaves
// until there are enough.
func randomCode(random *rand.Rand, symbols int, deepest uint8) []uint8 {
	leaves := []uint8{1, 1}
	deep := random.IntN(2) == 0 // many long words, or even ones
	for want := 2 + random.IntN(symbols-1); len(leaves) < want; {
		at := random.IntN(len(leaves))
		if deep && random.IntN(4) > 0 {
			at = len(leaves) - 1
		}
		if leaves[at] == deepest {
			continue
		}
		leaves[at]++
		leaves = append(leaves, leaves[at])
	}
	lengths := make([]uint8, symbols)
	for i, at := range random.Perm(symbols)[:len(leaves)] {
		lengths[at] = leaves[i]
	}
	return lengths
}

// findAll looks up every code word (RFC 1951, 3.2.2).
func findAll(random *rand.Rand, table []uint32, primary uint, lengths []uint8) error {
	code := uint32(0)
	for l := uint8(1); l <= maxCodeBits; l++ {
		for symbol, of := range lengths {
			if of != l {
				continue
			}
			bits := random.Uint64() << l
			for i := range l {
				bits |= uint64(code>>(l-1-i)&1) << i
			}
			e := table[bits&(1<<primary-1)]
			if e&subtable == subtable {
				e = table[uint64(e>>valueShift)+bits>>primary&(1<<(e>>8&15)-1)]
			}
			if want := uint32(symbol)<<valueShift | uint32(l)*0x101; e != want {
				return fmt.Errorf("symbol %d: the entry %#x, want %#x", symbol, e, want)
			}
			code++
		}
		code <<= 1
	}
	return nil
}

// TestAlphabets checks the base lengths and distances (RFC 1951, 3.2.5).
func TestAlphabets(t *testing.T) {
	all := newAlphabets()
	for _, test := range []struct {
		name        string
		entry       uint32
		value, bits uint32
	}{
		{"length symbol 257", all.literals[257], 3, 0},
		{"length symbol 264", all.literals[264], 10, 0},
		{"length symbol 265", all.literals[265], 11, 1},
		{"length symbol 280", all.literals[280], 115, 4},
		{"length symbol 284", all.literals[284], 227, 5},
		{"length symbol 285", all.literals[285], 258, 0},
		{"distance symbol 0", all.distances[0], 1, 0},
		{"distance symbol 4", all.distances[4], 5, 1},
		{"distance symbol 29", all.distances[29], 24577, 13},
	} {
		if test.entry != test.value<<valueShift|test.bits {
			t.Errorf("%s: %#x, want %d and %d bits", test.name, test.entry, test.value, test.bits)
		}
	}
}
