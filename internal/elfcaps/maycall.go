package elfcaps

import (
	"slices"

	"github.com/capvet/capvet/internal/codescan"
)

// MayCall reports whether the file can make a capability call at all: it imports a
// function that makes one or finds one by name, needs a library of capability calls,
// or contains the bytes of a kernel entry. If it is false, Capset is ABINone. It
// costs at most one byte search of the code. A file whose code is not read may call.
func (f *File) MayCall() bool {
	if f.Machine == nil || f.Packed() || !f.CodeComplete {
		return true
	}
	if slices.ContainsFunc(f.Facts().Needed, func(name string) bool { return LibraryOf(name) != "" }) {
		return true
	}
	return f.Imported("syscall", "capget", "capset", "dlsym") || codescan.EntersKernel(f.File)
}
