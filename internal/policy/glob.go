package policy

import "math/bits"

// MaxName bounds the image names that an exemption can match, in bytes. It is above the
// longest valid one: a host of 253 (RFC 1035) with a port, a repository of 255, a tag of 128
// and a digest of 135 (sha512). Lengths of the repository and tag: distribution/reference.
const MaxName = 800

// globs matches one image name against patterns: "**" matches any characters, "*" any but
// "/", all others match themselves.
//
// It is an automaton turned around: a state is a set of positions in the name, one bit each,
// that the pattern's part so far can end at. So each character of a pattern takes one step
// for every 64 bytes of the name, whatever the pattern, and patterns need no compiled form.
type globs struct {
	// words is the size of a set; 0 for a name that no pattern matches.
	words int
	last  int // the position at the name's end
	// classes numbers the bytes that occur in the name, from 1.
	classes [256]uint16
	// masks holds for each class the positions before its byte. Class 0 has no position.
	masks []uint64
	// segment holds the positions before any byte but "/".
	segment, set []uint64
	// steps counts words of sets that were computed.
	steps int
}

func newGlobs(name string) globs {
	g := globs{last: len(name)}
	if len(name) > MaxName {
		return g
	}
	classes := 1
	for i := range len(name) {
		if g.classes[name[i]] == 0 {
			g.classes[name[i]] = uint16(classes)
			classes++
		}
	}
	g.words = g.last/64 + 1
	sets := make([]uint64, (classes+2)*g.words)
	g.masks, sets = sets[:classes*g.words], sets[classes*g.words:]
	g.segment, g.set = sets[:g.words], sets[g.words:]
	for i := range len(name) {
		word, bit := i/64, uint64(1)<<(i%64)
		g.masks[int(g.classes[name[i]])*g.words+word] |= bit
		if name[i] != '/' {
			g.segment[word] |= bit
		}
	}
	return g
}

// match reports whether the pattern matches the whole name.
func (g *globs) match(pattern string) bool {
	if g.words == 0 {
		return false
	}
	clear(g.set)
	g.set[0] = 1
	for i := 0; i < len(pattern); i++ {
		g.steps += g.words
		var left uint64
		switch {
		case pattern[i] != '*':
			left = g.literal(pattern[i])
		case i+1 < len(pattern) && pattern[i+1] == '*':
			i++
			left = g.any()
		default:
			left = g.withinSegment()
		}
		if left == 0 {
			return false
		}
	}
	return g.set[g.last/64]>>(g.last%64)&1 == 1
}

// literal moves each position over one byte. The result is 0 if no position is left.
func (g *globs) literal(c byte) uint64 {
	mask := g.masks[int(g.classes[c])*g.words:][:g.words]
	var carry, left uint64
	for i, set := range g.set {
		moved := set & mask[i]
		g.set[i] = moved<<1 | carry
		carry = moved >> 63
		left |= g.set[i]
	}
	return left
}

// withinSegment moves each position over any number of bytes but "/". A sum carries a bit
// through the ones that follow it.
func (g *globs) withinSegment() uint64 {
	var carry, left uint64
	for i, set := range g.set {
		var sum uint64
		sum, carry = bits.Add64(set&g.segment[i], g.segment[i], carry)
		g.set[i] |= sum ^ g.segment[i]
		left |= g.set[i]
	}
	return left
}

// any moves each position over any number of bytes.
func (g *globs) any() uint64 {
	var fill, left uint64
	for i, set := range g.set {
		g.set[i] = fill | set | -set // all bits from the lowest one
		if set != 0 {
			fill = ^uint64(0)
		}
		left |= g.set[i]
	}
	return left
}
