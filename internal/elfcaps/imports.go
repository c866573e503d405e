package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/codescan"
)

// usesSlots reports whether code outside of PLT entries may load the GOT slot of a
// sink: the slot is bound eagerly, or PLT entries are unknown.
func (a *analysis) usesSlots(plt bool) bool {
	for slot, name := range a.File.GOT.Imports {
		if !plt || a.File.GOT.EagerlyBound[slot] && a.Imports[name] != nil {
			return true
		}
	}
	return false
}

// addPLT adds the PLT entries of imported functions. Each entry of a sink is a sink.
func (a *analysis) addPLT(hits codescan.Findings) {
	for _, h := range hits.PLT {
		name := a.File.GOT.Imports[h.Target]
		a.PLT[h.PC] = name
		if k := a.Imports[name]; k != nil && len(a.SinksAt[h.PC]) == 0 {
			own := *k
			own.Target = h.PC
			a.SinksAt[h.PC] = []*absint.Sink{&own}
		}
	}
}

// noteUses records the imported functions that are called or loaded.
func (a *analysis) noteUses(hits codescan.Findings) {
	for _, h := range hits.Calls {
		a.used[a.PLT[h.Target]] = true
	}
	for _, h := range hits.Slots {
		a.used[a.File.GOT.Imports[h.Target]] = true
	}
}

// unused returns an imported sink without a known use, or "": linkers import no unused function.
func (a *analysis) unused() string {
	for _, name := range []string{"capget", "capset", "syscall"} {
		if !a.used[name] && a.File.Imported(name) {
			return name
		}
	}
	return ""
}

// MayCall reports whether the file can make a capability call at all: by an import, a
// needed library or the bytes of a kernel entry. If it is false, Capset is ABINone. It costs
// at most one byte search of the code. A file whose code is not read may call.
func (f *File) MayCall() bool {
	if f.Machine == nil || f.Packed() || !f.CodeComplete {
		return true
	}
	if slices.ContainsFunc(f.Facts().Needed, func(name string) bool { return LibraryOf(name) != "" }) {
		return true
	}
	return f.Imported("syscall", "capget", "capset", "dlsym") || codescan.EntersKernel(f.File)
}
