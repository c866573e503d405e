package elfcaps

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
		if t, ok := a.f.dyn.own[h.target]; ok {
			a.own[h.pc] = t
			a.ways[t] = append(a.ways[t], h.pc)
			continue
		}
		name := a.f.dyn.imports[h.target]
		a.stubs[h.pc] = name
		if k := a.imports[name]; k != nil && len(a.sinksAt[h.pc]) == 0 {
			own := *k
			own.target = h.pc
			a.sinksAt[h.pc] = []*sink{&own}
		}
	}
}

// beyond is where a call or jump to target ends up: past the stub of a function of
// this file.
func (a *analysis) beyond(target uint64) uint64 {
	if t, ok := a.own[target]; ok {
		return t
	}
	return target
}
