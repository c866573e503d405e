package inflate

import "math/bits"

// Entries of decoding tables. An entry is indexed by the next bits of the stream:
//
//	bits 0-7    bits to consume: the code word and the extra bits
//	bits 8-11   bits of the code word
//	bits 16-30  the literal, or the base of the length or distance
//	bit 31      set for a literal
//
// An entry with the bit special has another meaning.
const (
	literal  = 1 << 31
	special  = 1 << 15
	subtable = special | 1<<14 // bits 16-30: offset of the subtable, 8-11: bits of its index
	endBlock = special | 1<<13
	invalid  = special | 1<<12 // no code word has these bits

	valueShift = 16
)

const (
	maxCodeBits = 15 // RFC 1951, 3.2.7

	// Bits of the index of each table. Longer code words need a subtable.
	literalBits  = 11
	distanceBits = 8
	lengthBits   = 7

	// Sizes of the tables with their subtables: powers of two above the largest
	// sizes of any code, 2342 and 402 entries (zlib's examples/enough.c).
	literalEntries  = 1 << 12
	distanceEntries = 1 << 9
	lengthEntries   = 1 << lengthBits
)

const (
	maxLiterals  = 286
	maxDistances = 30
)

// symbols are the entries of an alphabet's symbols, without their code lengths.
type symbols [288]uint32

// alphabets are the symbols of a block's three codes.
type alphabets struct{ literals, distances, plain *symbols }

func newAlphabets() alphabets {
	return alphabets{literalSymbols(), distanceSymbols(), plainSymbols()}
}

// literalSymbols returns the literals, the end of block, and the lengths (RFC 1951,
// 3.2.5).
func literalSymbols() *symbols {
	var s symbols
	for i := range 256 {
		s[i] = literal | uint32(i)<<valueShift
	}
	s[256] = endBlock
	setRanges(s[257:285], 3, 4)
	s[285] = 258 << valueShift
	s[286], s[287] = invalid, invalid
	return &s
}

// distanceSymbols returns the distances (RFC 1951, 3.2.5).
func distanceSymbols() *symbols {
	var s symbols
	setRanges(s[:maxDistances], 1, 2)
	s[30], s[31] = invalid, invalid
	return &s
}

// setRanges sets symbols to ranges of values that follow each other from base. The
// extra bits grow by one with each group of symbols, from the third group on.
func setRanges(s []uint32, base uint32, group int) {
	for i := range s {
		extra := max(i, group)/group - 1
		s[i] = base<<valueShift | uint32(extra)
		base += 1 << extra
	}
}

// plainSymbols returns symbols that stand for their own number.
func plainSymbols() *symbols {
	var s symbols
	for i := range s {
		s[i] = uint32(i) << valueShift
	}
	return &s
}

// build fills the decoding table of a code, given the length of each symbol's code
// word in bits; 0 means an unused symbol. The first 1<<primary entries decode code
// words of up to primary bits. It returns false for an oversubscribed or
// incomplete code, except for one without code words or with a single one of one
// bit.
func build(table []uint32, primary uint, lengths []uint8, alphabet *symbols) bool {
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
				table[i] = alphabet[symbol] + 0x101
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
	// The stream stores the first bit of a code word lowest, so a table index is the
	// reversed code word. Doubling the table repeats the shorter ones.
	word, i := uint(0), 0
	for l := uint(1); l <= primary; l++ {
		copy(table[1<<(l-1):1<<l], table[:1<<(l-1)])
		for range count[l] {
			table[word] = alphabet[sorted[i]] + uint32(l)*0x101
			i++
			word = nextWord(word, l)
		}
	}
	const unset = ^uint(0)
	free, first, begin, index := uint(1)<<primary, unset, uint(0), uint(0)
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
				table[begin+at] = alphabet[sorted[i]] + uint32(l)*0x101
			}
			i++
			word = nextWord(word, l)
		}
	}
	return true
}

// nextWord returns the code word after word, both reversed.
func nextWord(word, length uint) uint {
	zeros := ^word & (1<<length - 1)
	if zeros == 0 {
		return 0 // after the last one
	}
	highest := uint(1) << (bits.Len(zeros) - 1)
	return word&(highest-1) | highest
}
