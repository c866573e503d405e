package elfcaps

import "slices"

// usesSlots says that code outside of linkage stubs may use the import slot of a
// sink: one that the loader fills before the program runs, or any where stubs
// are not told apart.
func (a *analysis) usesSlots(stubs bool) bool {
	for slot, name := range a.f.dyn.imports {
		if !stubs || a.f.dyn.loadable[slot] && a.imports[name] != nil {
			return true
		}
	}
	return false
}

// addStubs takes up linkage stubs. Each has a sink of its own, so that calls of
// it are looked for once.
func (a *analysis) addStubs(hits findings) {
	for _, h := range hits.stubs {
		name := a.f.dyn.imports[h.target]
		a.stubs[h.pc] = name
		if k := a.imports[name]; k != nil && len(a.sinksAt[h.pc]) == 0 {
			own := *k
			own.target = h.pc
			a.sinksAt[h.pc] = []*sink{&own}
		}
	}
}

// noteUses takes down which imports are called or otherwise used somewhere.
func (a *analysis) noteUses(hits findings) {
	for _, h := range hits.calls {
		a.used[a.stubs[h.target]] = true
	}
	for _, h := range hits.slots {
		a.used[a.f.dyn.imports[h.target]] = true
	}
}

// unused returns an import that makes a capability call of which no use was seen:
// a linker puts none in a file that is not used.
func (a *analysis) unused() string {
	for _, name := range []string{"capget", "capset", "syscall"} {
		for _, imported := range a.f.dyn.imports {
			if imported == name && !a.used[name] {
				return name
			}
		}
	}
	return ""
}

// beyond is where a call or jump to target ends up: past the stub of a function of
// this file.
func (a *analysis) beyond(target uint64) uint64 {
	if len(a.f.dyn.own) == 0 || target == 0 {
		return target
	}
	end, known := a.own[target]
	if !known {
		end = target
		if f, ok := a.f.dyn.own[a.stubSlot(target)]; ok {
			end = f
		}
		a.own[target] = end
	}
	return end
}

// stubSlot is the slot that the linkage stub at pc jumps through, 0 if there is no
// stub.
func (a *analysis) stubSlot(pc uint64) uint64 {
	var in insn
	known := map[reg]uint64{}  // addresses
	loaded := map[reg]uint64{} // slots
	for range maxStub {
		if !a.m.decode(a.f.mem.bytes(pc, a.m.longest), pc, &in) {
			return 0
		}
		for _, o := range in.ops[:in.n] {
			switch o.code {
			case opConst:
				known[o.dst] = uint64(o.imm)
			case opLoad:
				loaded[o.dst] = known[o.a] + uint64(o.imm)
			}
		}
		switch {
		case in.flow == flowJumpIndirect && in.calleeMem && in.mem.a == regZero && in.mem.b == regNone:
			return uint64(in.mem.imm)
		case in.flow == flowJumpIndirect:
			return loaded[in.callee]
		case in.flow != flowNext:
			return 0
		}
		pc += uint64(in.length)
	}
	return 0
}

// maxStub is how many instructions a linkage stub has at most.
const maxStub = 5

// stubsOf returns where stubs of those functions may begin: with or without what
// stands before the address of the slot, a landing pad or a prefix.
func (a *analysis) stubsOf(functions []uint64) []uint64 {
	q := newQuery(a.limits.Sites)
	q.slots = map[uint64]uint64{}
	for slot, f := range a.f.dyn.own {
		if slices.Contains(functions, f) {
			q.slots[slot] = f
		}
	}
	if len(q.slots) == 0 {
		return nil
	}
	ranges, _ := a.f.stubRanges()
	if len(ranges) == 0 {
		ranges = a.f.code
	}
	var out []uint64
	for _, h := range a.f.scan(a.m, q, ranges).slots {
		if h.from != 0 {
			out = append(out, h.from, h.from-4)
			continue
		}
		out = append(out, a.f.stubStarts(h.pc)...)
	}
	return out
}
