package elfcaps

import (
	"github.com/capvet/capvet/internal/elffile"
)

// transfers is every call and jump of the code, so that looking for callers
// again does not need another pass over it.
type transfers struct {
	base   uint64
	blocks [][]transfer
	count  int
}

// transfer is a call or jump between two places, relative to the base: target
// is shifted left by one, with 1 added for a call.
type transfer struct {
	at, target uint32
}

const (
	maxIndexedCode = 1 << 30 // bytes of code that a list is kept of
	maxTransfers   = 4 << 20 // that it holds, of 8 bytes
	transferBlock  = 1 << 13 // that are allocated at a time
)

// newTransfers returns an empty list, nil when the code is too much for one.
func newTransfers(code []elffile.Span) *transfers {
	if len(code) == 0 {
		return nil
	}
	t := &transfers{base: code[0].Start}
	end := code[0].End
	for _, r := range code {
		t.base, end = min(t.base, r.Start), max(end, r.End)
	}
	if end-t.base > maxIndexedCode {
		return nil
	}
	return t
}

// add takes up a call or jump. One that leads out of the code is none.
func (t *transfers) add(pc, target uint64, call bool) {
	if t.count >= maxTransfers || target-t.base >= maxIndexedCode {
		return
	}
	if t.count%transferBlock == 0 {
		t.blocks = append(t.blocks, make([]transfer, 0, transferBlock))
	}
	t.count++
	e := transfer{uint32(pc - t.base), uint32(target-t.base) << 1}
	if call {
		e.target |= 1
	}
	last := &t.blocks[len(t.blocks)-1]
	*last = append(*last, e)
}

// whole says that nothing was left out.
func (t *transfers) whole() bool { return t != nil && t.count < maxTransfers }

// replay answers a query for calls and jumps as a pass over the code would.
func (t *transfers) replay(q *query) findings {
	out := findings{starts: make([]uint64, len(q.points))}
	for _, block := range t.blocks {
		for _, e := range block {
			out.transfer(q, t.base+uint64(e.at), t.base+uint64(e.target>>1), e.target&1 == 1)
		}
		if out.full(q) {
			break
		}
	}
	return out
}
