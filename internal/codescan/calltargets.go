package codescan

import (
	"math/bits"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// CallTargets is the set of call targets in the code, one bit each. It replaces the
// table of functions that a file lacks.
type CallTargets struct {
	base, size uint64 // of the addresses
	// shift is the alignment of instructions, as a power of two.
	shift uint // bytes per bit, as a power of two
	words []uint64
}

// maxCallTargets is the size limit of the set, in bytes.
const maxCallTargets = 16 << 20

// NewCallTargets returns an empty set, nil when it would take more than 16 MiB.
func NewCallTargets(m *isa.Machine, code []elffile.Span) *CallTargets {
	if len(code) == 0 {
		return nil
	}
	c := &CallTargets{base: code[0].Start}
	end := code[0].End
	for _, r := range code {
		c.base, end = min(c.base, r.Start), max(end, r.End)
	}
	c.size = end - c.base
	c.shift = uint(bits.TrailingZeros(uint(m.Alignment)))
	n := c.size>>c.shift/64 + 1
	if n > maxCallTargets/8 {
		return nil
	}
	c.words = make([]uint64, n)
	return c
}

func (c *CallTargets) set(target uint64) {
	if c == nil || target-c.base >= c.size {
		return
	}
	i := (target - c.base) >> c.shift
	c.words[i/64] |= 1 << (i % 64)
}

// last returns the highest call target not above pc, 0 without one.
func (c *CallTargets) last(pc uint64) uint64 {
	if pc-c.base >= c.size {
		return 0
	}
	i := (pc - c.base) >> c.shift
	w := c.words[i/64] & (^uint64(0) >> (63 - i%64))
	for k := i / 64; ; k-- {
		if w != 0 {
			return c.base + (k*64+uint64(63-bits.LeadingZeros64(w)))<<c.shift
		}
		if k == 0 {
			return 0
		}
		w = c.words[k-1]
	}
}
