package codescan

import (
	"math/bits"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/isa"
)

// CallTargets is a bit set of the call targets in the code. In files without function
// tables, the call targets stand for the starts of functions.
type CallTargets struct {
	base, size uint64
	shift      uint // log2 of the bytes per bit
	words      []uint64
}

// maxCallTargets is the maximum size of the set in bytes.
const maxCallTargets = 16 << 20

// NewCallTargets returns an empty set, or nil if the code is empty or too large.
func NewCallTargets(m *isa.Machine, code []elffile.Span) *CallTargets {
	if len(code) == 0 {
		return nil
	}
	hull := hullOf(code)
	c := &CallTargets{base: hull.Start, size: hull.End - hull.Start, shift: uint(bits.TrailingZeros(uint(m.Alignment)))}
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

// last returns the highest call target at or below pc, or 0.
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
