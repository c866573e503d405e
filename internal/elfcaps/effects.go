package elfcaps

// effect is what a callee writes through a pointer argument.
type effect struct {
	arg reg
	off int64
	val value
}

func (a *analysis) applyEffects(s *state, callee value, pc uint64) {}

// staticNames makes sinks of functions that symbols name where their code alone
// would not say so.
func (a *analysis) staticNames() {}
