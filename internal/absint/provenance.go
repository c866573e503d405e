package absint

import "github.com/capvet/capvet/internal/isa"

// Trail is the history of a value: an index into the interned steps, 0 without a history.
type Trail uint32

// TrailStep is one instruction in the history of a value, or with PC 0 a join of two trails.
type TrailStep struct {
	PC  uint64
	dst isa.Reg
	// Data is the address in the file's data that the value is read from, or 0.
	Data uint64
	// Place is the address of a store.
	Place Value
	From  [2]Trail
}

// maxTrails bounds the memory of an explanation.
const maxTrails = 1 << 18

// trail interns a step with its most recent result.
func (n *Values) trail(s TrailStep, made Value) Trail {
	if n.trailIDs == nil {
		n.trailIDs = map[TrailStep]Trail{}
		n.steps, n.made = make([]TrailStep, 1), make([]Value, 1)
	}
	id, ok := n.trailIDs[s]
	if !ok {
		if len(n.steps) >= maxTrails {
			return 0
		}
		id = Trail(len(n.steps))
		n.steps, n.made = append(n.steps, s), append(n.made, made)
		n.trailIDs[s] = id
	}
	n.made[id] = made
	return id
}

// Step returns the last step of a trail and its most recent result.
func (n *Values) Step(t Trail) (TrailStep, Value) { return n.steps[t], n.made[t] }

// JoinTrails returns the trail of a value with two possible histories, or of two parts.
func (n *Values) JoinTrails(a, b Trail) Trail {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	return n.trail(TrailStep{From: [2]Trail{a, b}}, top)
}

// step executes one operation of the instruction at pc and records its trail.
func (a *Interpreter) step(s *state, o *isa.Operation, pc uint64) {
	if s.trails == nil {
		a.perform(s, o, pc, 0)
		return
	}
	t := TrailStep{PC: pc, dst: o.Dst}
	made := top
	switch o.Code {
	case isa.OpConst, isa.OpKill, isa.OpFlag:
	case isa.OpStoreImm:
		t.Place, made = a.address(s, o), Const(uint64(o.Imm))
	case isa.OpInsert, isa.OpKeepLow:
		t.From[0] = s.trail(o.Dst)
	case isa.OpStore:
		t.From[0], t.Place, made = s.trail(o.Dst), a.address(s, o), a.get(s, o.Dst)
	case isa.OpFill:
		t.From[0], t.Place, made = s.trail(o.B), a.get(s, o.A), a.get(s, o.B)
	case isa.OpLoad:
		t.From[0] = a.Values.JoinTrails(s.trail(o.A), s.trail(o.B))
		t.From[1] = a.written(s, a.address(s, o), o.Width)
	case isa.OpMov, isa.OpExtend, isa.OpShl, isa.OpShr, isa.OpSar:
		t.From[0] = s.trail(o.A)
	default:
		t.From[0], t.From[1] = s.trail(o.A), s.trail(o.B)
	}
	by := a.Values.trail(t, made)
	a.perform(s, o, pc, by)
	switch o.Code {
	case isa.OpStore, isa.OpStoreImm, isa.OpFill, isa.OpCopy:
	default:
		if o.Dst < isa.NumRegs && o.Dst != a.Machine.SP {
			s.trails[o.Dst] = a.Values.trail(t, s.regs[o.Dst])
		}
	}
}

// trail returns the trail of a register.
func (s *state) trail(r isa.Reg) Trail {
	if r >= isa.NumRegs || s.trails == nil {
		return 0
	}
	return s.trails[r]
}

// written returns the trail of width bytes at addr.
func (a *Interpreter) written(s *state, addr Value, width uint8) (t Trail) {
	if s.trails == nil {
		return 0
	}
	for _, at := range a.Values.Alternatives(a.mapped(addr)) {
		if !at.isAddress() {
			continue
		}
		i, j := s.overlap(at, width)
		for _, c := range s.cells[i:j] {
			t = a.Values.JoinTrails(t, c.by)
		}
		if was := a.Initial(at, width); i == j && was.Kind == KindConst {
			t = a.Values.JoinTrails(t, a.DataTrail(at, width, was))
		}
	}
	return t
}

// DataTrail returns the trail of v, which is the initial content of width bytes at addr.
func (a *Interpreter) DataTrail(addr Value, width uint8, v Value) Trail {
	data := uint64(addr.Off)
	if at, ok := a.initialTLS(addr, width); ok {
		data = at
	}
	return a.Values.trail(TrailStep{Data: data}, v)
}

// evalTrail returns the trail of the caller's values in a callee's value v.
func (a *Interpreter) evalTrail(s *state, v Value, entrySP Value) (t Trail) {
	for _, alt := range a.Values.Alternatives(v) {
		if alt.Kind != KindSymbol {
			continue
		}
		switch o := a.Values.Origin(alt); o.Kind {
		case SymbolRegister:
			t = a.Values.JoinTrails(t, s.trail(o.Reg))
		case SymbolLoad:
			t = a.Values.JoinTrails(t, a.written(s, a.eval(s, o.Base, entrySP), o.width))
		}
	}
	return t
}

// called sets the trails after a call at pc: left by the callee, or callee-saved.
func (a *Interpreter) called(s *state, pc uint64, left [isa.NumRegs]Trail) {
	if s.trails == nil {
		return
	}
	for _, r := range a.Machine.CalleeSaved {
		left[r] = s.trails[r]
	}
	result := a.Values.trail(TrailStep{PC: pc, dst: a.Machine.Result}, s.regs[a.Machine.Result])
	left[a.Machine.Result] = a.Values.JoinTrails(result, left[a.Machine.Result])
	*s.trails = left
}

// callTrail returns the trail of a result or store of a call.
func (a *Interpreter) callTrail(s *state, pc uint64) Trail {
	if s.trails == nil {
		return 0
	}
	return a.Values.trail(TrailStep{PC: pc, dst: isa.RegNone}, top)
}
