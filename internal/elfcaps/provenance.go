package elfcaps

// trail names how a value came to be: an index into interner.steps, 0 for
// nothing known. Trails are kept only when the verdict is to be explained.
type trail uint32

// trailStep is one instruction that had a part in a value, or the join of two
// trails where pc is 0.
type trailStep struct {
	pc  uint64
	dst reg
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
func (a *analysis) step(s *state, o *operation, pc uint64) {
	if s.trails == nil {
		a.perform(s, o, pc, 0)
		return
	}
	t := trailStep{pc: pc, dst: o.dst}
	made := top
	switch o.code {
	case opConst, opKill, opFlag:
	case opStoreImm:
		t.place, made = a.address(s, o), constant(uint64(o.imm))
	case opInsert, opKeepLow:
		t.from[0] = s.trail(o.dst)
	case opStore:
		t.from[0], t.place, made = s.trail(o.dst), a.address(s, o), a.get(s, o.dst)
	case opFill:
		t.from[0], t.place, made = s.trail(o.b), a.get(s, o.a), a.get(s, o.b)
	case opLoad:
		t.from[0] = a.names.both(s.trail(o.a), s.trail(o.b))
		t.from[1] = a.written(s, a.address(s, o), o.width)
	case opMov, opExtend, opShl, opShr, opSar:
		t.from[0] = s.trail(o.a)
	default:
		t.from[0], t.from[1] = s.trail(o.a), s.trail(o.b)
	}
	by := a.names.trail(t, made)
	a.perform(s, o, pc, by)
	switch o.code {
	case opStore, opStoreImm, opFill, opCopy:
	default:
		if o.dst < numRegs && o.dst != a.m.sp {
			s.trails[o.dst] = a.names.trail(t, s.regs[o.dst])
		}
	}
}

// trail is how a register came to be.
func (s *state) trail(r reg) trail {
	if r >= numRegs || s.trails == nil {
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
func (a *analysis) called(s *state, pc uint64, left [numRegs]trail) {
	if s.trails == nil {
		return
	}
	for _, r := range a.m.preserved {
		left[r] = s.trails[r]
	}
	result := a.names.trail(trailStep{pc: pc, dst: a.m.result}, s.regs[a.m.result])
	left[a.m.result] = a.names.both(result, left[a.m.result])
	*s.trails = left
}

// callTrail is a call as the way by which memory was written or a register set.
func (a *analysis) callTrail(s *state, pc uint64) trail {
	if s.trails == nil {
		return 0
	}
	return a.names.trail(trailStep{pc: pc, dst: regNone}, top)
}
