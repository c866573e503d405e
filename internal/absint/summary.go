package absint

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
func (a *Interpreter) summarise(target uint64) *summary {
	if s, ok := a.summaries[target]; ok {
		return s
	}
	if a.depth >= maxSummaryDepth {
		return nil
	}
	a.summaries[target] = nil
	where, _ := a.Functions.At(target)
	if where.End == 0 {
		where, _ = a.code.Outline(target, target)
	}
	if where.Start != target || where.End-where.Start > maxSummaryBytes {
		return nil
	}
	a.depth++
	r, ok := a.Run(where, target, nil, false)
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
func (a *Interpreter) applyEffects(s *state, callee Value, pc uint64, entrySP Value) (after [isa.NumRegs]Value, how [isa.NumRegs]Trail, ok bool) {
	if callee.Kind != KindConst || !a.File.Executable(uint64(callee.Off)) {
		return after, how, false
	}
	k := a.summarise(uint64(callee.Off))
	if k == nil {
		return after, how, false
	}
	if k.exit == nil {
		return after, how, false
	}
	before := s.clone()
	// What the callee got from a call of its own is another thing at each call
	// of the callee.
	eval := func(v Value) Value {
		if v.Kind == KindSymbol {
			if o := a.Values.Origin(v); o.Kind == SymbolResult {
				o.Base = Const(pc)
				return Add(a.Values.symbol(o), v.Off)
			}
		}
		return a.eval(before, v, entrySP)
	}
	for i, c := range k.exit.cells {
		if i >= maxSummaryCells {
			break
		}
		at := Value{c.space, c.id, c.off}
		if c.space == KindStack && c.off < 0 {
			continue
		}
		s.store(eval(at), c.width, eval(c.val), a.Values.JoinTrails(c.by, a.evalTrail(before, c.val, entrySP)))
	}
	for r := range after {
		after[r] = eval(k.exit.regs[r])
		if s.trails != nil {
			how[r] = a.Values.JoinTrails(k.exit.trails[r], a.evalTrail(before, k.exit.regs[r], entrySP))
		}
	}
	return after, how, true
}

// returns says that a call may come back, as far as is known.
func (a *Interpreter) returns(callee Value) bool {
	if neverReturns(a.calleeName(callee)) {
		return false
	}
	if !a.FollowCallees || callee.Kind != KindConst {
		return true
	}
	k, ok := a.summaries[uint64(callee.Off)]
	return !ok || k == nil || k.exit != nil
}
