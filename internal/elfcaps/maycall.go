package elfcaps

import (
	"github.com/capvet/capvet/internal/codescan"
)

// MayCall reports whether the file has any way at all to a capability call: a
// linkage to what makes one or finds one by name, a library that does, or code
// that enters the kernel itself. Where it has none, Capset is ABINone. It costs
// a look at the linkage and at most one pass over the code, as fast as bytes can
// be compared. A file whose code cannot be read may call.
func (f *File) MayCall() bool {
	if f.Machine == nil || f.Packed() || !f.CodeComplete {
		return true
	}
	for _, name := range f.Facts().Needed {
		if LibraryOf(name) != "" {
			return true
		}
	}
	for _, name := range f.GOT().Imports {
		switch name {
		case "syscall", "capget", "capset", "dlsym":
			return true
		}
	}
	return codescan.EntersKernel(f.File)
}
