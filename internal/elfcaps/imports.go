package elfcaps

import (
	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/codescan"
)

// usesSlots says that code outside of linkage stubs may use the import slot of a
// sink: one that the loader fills before the program runs, or any where stubs
// are not told apart.
func (a *analysis) usesSlots(stubs bool) bool {
	for slot, name := range a.File.GOT().Imports {
		if !stubs || a.File.GOT().EagerlyBound[slot] && a.Imports[name] != nil {
			return true
		}
	}
	return false
}

// addStubs takes up linkage stubs. Each has a sink of its own, so that calls of
// it are looked for once.
func (a *analysis) addStubs(hits codescan.Findings) {
	for _, h := range hits.PLT {
		name := a.File.GOT().Imports[h.Target]
		a.PLT[h.PC] = name
		if k := a.Imports[name]; k != nil && len(a.SinksAt[h.PC]) == 0 {
			own := *k
			own.Target = h.PC
			a.SinksAt[h.PC] = []*absint.Sink{&own}
		}
	}
}

// noteUses takes down which imports are called or otherwise used somewhere.
func (a *analysis) noteUses(hits codescan.Findings) {
	for _, h := range hits.Calls {
		a.used[a.PLT[h.Target]] = true
	}
	for _, h := range hits.Slots {
		a.used[a.File.GOT().Imports[h.Target]] = true
	}
}

// unused returns an import that makes a capability call of which no use was seen:
// a linker puts none in a file that is not used.
func (a *analysis) unused() string {
	for _, name := range []string{"capget", "capset", "syscall"} {
		for _, imported := range a.File.GOT().Imports {
			if imported == name && !a.used[name] {
				return name
			}
		}
	}
	return ""
}
