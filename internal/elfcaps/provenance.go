package elfcaps

import (
	"github.com/capvet/capvet/internal/isa"
)

// trail names how a value came to be: an index into interner.steps, 0 for
// nothing known. Trails are kept only when the verdict is to be explained.
type trail uint32

// trailStep is one instruction that had a part in a value, or the join of two
// trails where pc is 0.
type trailStep struct {
	pc  uint64
	dst isa.Reg
	// data is the address of what was read from the file's own data, if that
	// is where the value is from.
	data uint64
	// place is where the value was stored.
	place value
	from  [2]trail
}

// maxTrails bounds the memory that an explanation takes.
const maxTrails = 1 << 18

// trail interns a step and notes the value that it left last.
func (n *interner) trail(s trailStep, made value) trail {
	if n.trailIDs == nil {
		n.trailIDs = map[trailStep]trail{}
		n.steps, n.made = make([]trailStep, 1), make([]value, 1)
	}
	id, ok := n.trailIDs[s]
	if !ok {
		if len(n.steps) >= maxTrails {
			return 0
		}
		id = trail(len(n.steps))
		n.steps, n.made = append(n.steps, s), append(n.made, made)
		n.trailIDs[s] = id
	}
	n.made[id] = made
	return id
}

// both is the trail of a value that came by one of two ways, or of two parts.
func (n *interner) both(a, b trail) trail {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	}
	return n.trail(trailStep{from: [2]trail{a, b}}, top)
}

// step performs one operation of the instruction at pc.
func (a *analysis) step(s *state, o *isa.Operation, pc uint64) {
	if s.trails == nil {
		a.perform(s, o, pc, 0)
		return
	}
	t := trailStep{pc: pc, dst: o.Dst}
	made := top
	switch o.Code {
	case isa.OpConst, isa.OpKill, isa.OpFlag:
	case isa.OpStoreImm:
		t.place, made = a.address(s, o), constant(uint64(o.Imm))
	case isa.OpInsert, isa.OpKeepLow:
		t.from[0] = s.trail(o.Dst)
	case isa.OpStore:
		t.from[0], t.place, made = s.trail(o.Dst), a.address(s, o), a.get(s, o.Dst)
	case isa.OpFill:
		t.from[0], t.place, made = s.trail(o.B), a.get(s, o.A), a.get(s, o.B)
	case isa.OpLoad:
		t.from[0] = a.names.both(s.trail(o.A), s.trail(o.B))
		t.from[1] = a.written(s, a.address(s, o), o.Width)
	case isa.OpMov, isa.OpExtend, isa.OpShl, isa.OpShr, isa.OpSar:
		t.from[0] = s.trail(o.A)
	default:
		t.from[0], t.from[1] = s.trail(o.A), s.trail(o.B)
	}
	by := a.names.trail(t, made)
	a.perform(s, o, pc, by)
	switch o.Code {
	case isa.OpStore, isa.OpStoreImm, isa.OpFill, isa.OpCopy:
	default:
		if o.Dst < isa.NumRegs && o.Dst != a.m.SP {
			s.trails[o.Dst] = a.names.trail(t, s.regs[o.Dst])
		}
	}
}

// trail is how a register came to be.
func (s *state) trail(r isa.Reg) trail {
	if r >= isa.NumRegs || s.trails == nil {
		return 0
	}
	return s.trails[r]
}

// written is how what stands in width bytes at addr came there.
func (a *analysis) written(s *state, addr value, width uint8) (t trail) {
	if s.trails == nil {
		return 0
	}
	for _, at := range a.names.alternatives(a.mapped(addr)) {
		space, id, off, ok := place(at)
		if !ok {
			continue
		}
		found := false
		for i := s.firstCell(space, id, off-7); i < len(s.cells); i++ {
			c := &s.cells[i]
			if c.space != space || c.id != id || c.off >= off+int64(width) {
				break
			}
			if c.off+int64(c.width) > off {
				t, found = a.names.both(t, c.by), true
			}
		}
		if was := a.initial(at, width); !found && was.kind == kindConst {
			data := uint64(off)
			if own, ok := a.threadData(at, width); ok {
				data = own
			}
			t = a.names.both(t, a.names.trail(trailStep{data: data}, was))
		}
	}
	return t
}

// evalTrail is how the caller's part of a callee's value v came to be.
func (a *analysis) evalTrail(s *state, v value, entrySP value) (t trail) {
	for _, alt := range a.names.alternatives(v) {
		if alt.kind != kindSymbol {
			continue
		}
		switch o := a.names.origins[alt.id]; o.kind {
		case symbolRegister:
			t = a.names.both(t, s.trail(o.reg))
		case symbolLoad:
			t = a.names.both(t, a.written(s, a.eval(s, o.base, entrySP), o.width))
		}
	}
	return t
}

// called gives the registers the trails that they have after a call at pc: those
// that the callee left, and those of what outlives every call.
func (a *analysis) called(s *state, pc uint64, left [isa.NumRegs]trail) {
	if s.trails == nil {
		return
	}
	for _, r := range a.m.CalleeSaved {
		left[r] = s.trails[r]
	}
	result := a.names.trail(trailStep{pc: pc, dst: a.m.Result}, s.regs[a.m.Result])
	left[a.m.Result] = a.names.both(result, left[a.m.Result])
	*s.trails = left
}

// callTrail is a call as the way by which memory was written or a register set.
func (a *analysis) callTrail(s *state, pc uint64) trail {
	if s.trails == nil {
		return 0
	}
	return a.names.trail(trailStep{pc: pc, dst: isa.RegNone}, top)
}
