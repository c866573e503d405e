package absint

import (
	"slices"

	"github.com/capvet/capvet/internal/elffile"
)

// blocks are the basic blocks of a function, found by decoding it once.
type blocks struct {
	starts []uint64 // of blocks; sorted by reachesSink
	// ends are the ends of blocks, in order of address.
	ends []blockEnd
}

// blockEnd is the last instruction of a basic block.
type blockEnd struct {
	pc, target   uint64
	next         uint64 // the address of the next instruction
	goesOn, away bool   // control reaches next; an unknown target
}

// reachesSink returns the starts of the blocks from which a watched call site can be reached.
func (o *blocks) reachesSink(where elffile.Span, watched []uint64) map[uint64]bool {
	slices.Sort(o.starts)
	o.starts = slices.Compact(o.starts)
	blockOf := func(pc uint64) int {
		i, exact := slices.BinarySearch(o.starts, pc)
		if !exact {
			i--
		}
		return i
	}
	preds := make([][]int32, len(o.starts))
	edge := func(from, to int) {
		if from >= 0 && to >= 0 && to < len(preds) {
			preds[to] = append(preds[to], int32(from))
		}
	}
	var queue []int32
	seen := make([]bool, len(o.starts))
	add := func(i int) {
		if i >= 0 && !seen[i] {
			seen[i] = true
			queue = append(queue, int32(i))
		}
	}
	ended := make([]bool, len(o.starts))
	for _, e := range o.ends {
		i := blockOf(e.pc)
		if i < 0 {
			continue
		}
		ended[i] = true
		if e.goesOn {
			edge(i, blockOf(e.next))
		}
		if where.Holds(e.target) {
			edge(i, blockOf(e.target))
		}
		if e.away {
			add(i)
		}
	}
	for i, done := range ended {
		if !done {
			edge(i, i+1)
		}
	}
	for _, pc := range watched {
		add(blockOf(pc))
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, p := range preds[i] {
			add(int(p))
		}
	}
	out := make(map[uint64]bool, len(o.starts))
	for i, s := range o.starts {
		if seen[i] {
			out[s] = true
		}
	}
	return out
}
