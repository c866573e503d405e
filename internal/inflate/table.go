package inflate

import "math/bits"

// An entry of a decoding table says what the next bits of the stream mean, in
// one word that costs few steps to use:
//
//	bits 0-7    how many bits it takes, those of its value included
//	bits 8-11   how many of them are the code word
//	bits 16-30  the literal, or the length's or distance's least value
//	bit 31      it is a literal
//
// or, where special is set, that it is none of these.
const (
	literal  = 1 << 31
	special  = 1 << 15
	subtable = special | 1<<14 // bits 16-30: where it begins, 8-11: its index's bits
	endBlock = special | 1<<13
	invalid  = special | 1<<12 // no code word has these bits

	valueShift = 16
)

const (
	maxCodeBits = 15 // RFC 1951, 3.2.7

	// Code words of up to so many bits are found in one step, longer ones in two.
	literalBits  = 11
	distanceBits = 8
	lengthBits   = 7

	// Sizes of the tables, subtables included: powers of two above the most that
	// any code takes, 2342 and 402 entries (zlib's examples/enough.c).
	literalEntries  = 1 << 12
	distanceEntries = 1 << 9
	lengthEntries   = 1 << lengthBits
)

const (
	maxLiterals  = 286
	maxDistances = 30
)

// symbols are the entries of each symbol of a code, but for its code word's
// length.
type symbols [288]uint32

// alphabets are the symbols of each of a block's codes.
type alphabets struct{ literals, distances, plain *symbols }

func newAlphabets() alphabets {
	return alphabets{literalSymbols(), distanceSymbols(), plainSymbols()}
}

// literalSymbols are literals, the end of a block, and lengths (RFC 1951, 3.2.5).
func literalSymbols() *symbols {
	var s symbols
	for i := range 256 {
		s[i] = literal | uint32(i)<<valueShift
	}
	s[256] = endBlock
	length := uint32(3)
	for i := 257; i < 285; i++ {
		extra := uint32(0)
		if i >= 265 {
			extra = uint32(i-261) / 4
		}
		s[i] = length<<valueShift | extra
		length += 1 << extra
	}
	s[285] = 258 << valueShift
	s[286], s[287] = invalid, invalid
	return &s
}

// distanceSymbols are distances (RFC 1951, 3.2.5).
func distanceSymbols() *symbols {
	var s symbols
	distance := uint32(1)
	for i := range maxDistances {
		extra := uint32(0)
		if i >= 4 {
			extra = uint32(i-2) / 2
		}
		s[i] = distance<<valueShift | extra
		distance += 1 << extra
	}
	s[30], s[31] = invalid, invalid
	return &s
}

// plainSymbols are their own values.
func plainSymbols() *symbols {
	var s symbols
	for i := range s {
		s[i] = uint32(i) << valueShift
	}
	return &s
}

// build makes the decoding table of a code, whose code words have the given
// lengths in bits (0: none). Code words of up to primary bits are in the table's
// first 1<<primary entries. It returns false for lengths that make no code: too
// many code words, or too few, but for no code word at all, or one of one bit.
func build(table []uint32, primary uint, lengths []uint8, of *symbols) bool {
	var count [maxCodeBits + 1]uint
	for _, l := range lengths {
		count[l&maxCodeBits]++
	}
	used, space := uint(len(lengths))-count[0], uint(0)
	var next [maxCodeBits + 2]uint
	for l := uint(1); l <= maxCodeBits; l++ {
		next[l+1] = next[l] + count[l]
		space += count[l] << (maxCodeBits - l)
	}
	switch {
	case space == 1<<maxCodeBits:
	case used == 0, used == 1 && count[1] == 1:
		for i := range table[:1<<primary] {
			table[i] = invalid
		}
		for symbol, l := range lengths {
			for i := 0; l == 1 && i < 1<<primary; i += 2 {
				table[i] = of[symbol] + 0x101
			}
		}
		return true
	default:
		return false
	}
	var sorted [288]uint16
	for symbol, l := range lengths {
		if l != 0 {
			sorted[next[l]] = uint16(symbol)
			next[l]++
		}
	}
	// The stream has code words with their first bit lowest, so that the table's
	// index is the word backwards. One that is longer by a bit stands where the
	// shorter one did and again half way on.
	word, i := uint(0), 0
	for l := uint(1); l <= primary; l++ {
		copy(table[1<<(l-1):1<<l], table[:1<<(l-1)])
		for range count[l] {
			table[word] = of[sorted[i]] + uint32(l)*0x101
			i++
			word = following(word, l)
		}
	}
	const none = ^uint(0)
	free, first, begin, index := uint(1)<<primary, none, uint(0), uint(0)
	for l := primary + 1; l <= maxCodeBits; l++ {
		for left := count[l]; left > 0; left-- {
			if word&(1<<primary-1) != first {
				first, begin, index = word&(1<<primary-1), free, l-primary
				for taken := left; taken < 1<<index; {
					index++
					taken = taken<<1 + count[primary+index]
				}
				free += 1 << index
				table[first] = subtable | uint32(begin)<<valueShift | uint32(index)<<8
			}
			for at := word >> primary; at < 1<<index; at += 1 << (l - primary) {
				table[begin+at] = of[sorted[i]] + uint32(l)*0x101
			}
			i++
			word = following(word, l)
		}
	}
	return true
}

// following returns the next code word of that many bits, backwards as all are.
func following(word, length uint) uint {
	zeros := ^word & (1<<length - 1)
	if zeros == 0 {
		return 0 // it was the last
	}
	highest := uint(1) << (bits.Len(zeros) - 1)
	return word&(highest-1) | highest
}
