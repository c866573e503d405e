package elfcaps

import "github.com/capvet/capvet/internal/codescan"

// MayCall reports whether the file can make a capability call at all: it imports a
// function that makes one or finds one by name, needs a library of capability calls,
// or contains the bytes of a kernel entry. If it is false, Capset is ABINone. It
// costs at most one byte search of the code. A file whose code is not read may call.
func (f *File) MayCall() bool {
	if f.Machine == nil || f.Packed() || !f.CodeComplete {
		return true
	}
	for _, name := range f.Facts().Needed {
		if LibraryOf(name) != "" {
			return true
		}
	}
	for _, name := range f.GOT.Imports {
		switch name {
		case "syscall", "capget", "capset", "dlsym":
			return true
		}
	}
	return codescan.EntersKernel(f.File)
}
