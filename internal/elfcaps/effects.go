package elfcaps

import (
	"github.com/capvet/capvet/internal/isa"
)

// summary is what a function leaves behind: the state at its returns, in terms
// of its own entry.
type summary struct {
	// exit is nil when the function never returns.
	exit *state
}

const (
	maxSummaryBytes = 4 << 10 // of a callee whose effects are followed
	maxSummaryDepth = 2
	maxSummaryCells = 64
)

// summarise interprets a callee for what it writes and returns, nil when that
// is not worth it.
func (a *analysis) summarise(target uint64) *summary {
	if s, ok := a.summaries[target]; ok {
		return s
	}
	if a.depth >= maxSummaryDepth {
		return nil
	}
	a.summaries[target] = nil
	where, _ := a.fns.At(target)
	if where.End == 0 {
		where, _ = a.p.Outline(target, target)
	}
	if where.Start != target || where.End-where.Start > maxSummaryBytes {
		return nil
	}
	a.depth++
	r, ok := a.follow(where, target, nil, false)
	a.depth--
	if !ok || r.exit == nil && r.leaves {
		return nil
	}
	s := &summary{r.exit}
	a.summaries[target] = s
	return s
}

// applyEffects carries what a callee writes through pointers and into globals,
// and what it leaves in registers and how, into the caller's state. Compilers know which
// registers a local callee leaves alone, and use them across the call.
func (a *analysis) applyEffects(s *state, callee value, pc uint64, entrySP value) (after [isa.NumRegs]value, how [isa.NumRegs]trail, ok bool) {
	if callee.kind != kindConst || !a.f.Executable(uint64(callee.off)) {
		return after, how, false
	}
	k := a.summarise(uint64(callee.off))
	if k == nil {
		return after, how, false
	}
	if k.exit == nil {
		return after, how, false
	}
	before := s.clone()
	// What the callee got from a call of its own is another thing at each call
	// of the callee.
	eval := func(v value) value {
		if v.kind == kindSymbol {
			if o := a.names.origins[v.id]; o.kind == symbolResult {
				o.base = constant(pc)
				return plus(a.names.symbol(o), v.off)
			}
		}
		return a.eval(before, v, entrySP)
	}
	for i, c := range k.exit.cells {
		if i >= maxSummaryCells {
			break
		}
		at := value{c.space, c.id, c.off}
		if c.space == kindStack && c.off < 0 {
			continue
		}
		s.store(eval(at), c.width, eval(c.val), a.names.both(c.by, a.evalTrail(before, c.val, entrySP)))
	}
	for r := range after {
		after[r] = eval(k.exit.regs[r])
		if s.trails != nil {
			how[r] = a.names.both(k.exit.trails[r], a.evalTrail(before, k.exit.regs[r], entrySP))
		}
	}
	return after, how, true
}

// returns says that a call may come back, as far as is known.
func (a *analysis) returns(callee value) bool {
	if neverReturns(a.calleeName(callee)) {
		return false
	}
	if !a.effects || callee.kind != kindConst {
		return true
	}
	k, ok := a.summaries[uint64(callee.off)]
	return !ok || k == nil || k.exit != nil
}
