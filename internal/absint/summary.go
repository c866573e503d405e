package absint

import "github.com/capvet/capvet/internal/isa"

// summary is the effect of a function: the state at its returns, relative to its entry.
type summary struct {
	// exit is nil if the function never returns.
	exit *state
}

const (
	maxSummaryBytes = 4 << 10 // of a callee
	maxSummaryDepth = 2
	maxSummaryCells = 64
)

// summarise returns the summary of a callee, nil for one that is too long or too deep.
func (a *Interpreter) summarise(target uint64) *summary {
	if s, ok := a.summaries[target]; ok {
		return s
	}
	if a.depth >= maxSummaryDepth {
		return nil
	}
	a.summaries[target] = nil
	where := a.Functions.At(target)
	if where.End == 0 {
		where = a.code.Outline(target, target)
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
	a.summaries[target] = &summary{r.exit}
	return a.summaries[target]
}

// applyEffects applies the stores of a callee to the caller's state and returns the
// registers that it leaves, with their trails. Compilers know the registers that a
// local callee leaves unchanged, and use them across the call.
func (a *Interpreter) applyEffects(s *state, callee Value, pc uint64, entrySP Value) (after [isa.NumRegs]Value, how [isa.NumRegs]Trail) {
	if callee.Kind != KindConst || !a.File.Executable(uint64(callee.Off)) {
		return after, how
	}
	k := a.summarise(uint64(callee.Off))
	if k == nil || k.exit == nil {
		return after, how
	}
	before := s.clone()
	// A result of the callee's own calls differs from call to call.
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
		if c.at.Kind == KindStack && c.at.Off < 0 {
			continue
		}
		s.store(eval(c.at), c.width, eval(c.val), a.Values.JoinTrails(c.by, a.evalTrail(before, c.val, entrySP)))
	}
	for r := range after {
		after[r] = eval(k.exit.regs[r])
		if s.trails != nil {
			how[r] = a.Values.JoinTrails(k.exit.trails[r], a.evalTrail(before, k.exit.regs[r], entrySP))
		}
	}
	return after, how
}

// returns reports whether a call may return.
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
