package codescan

import (
	"github.com/capvet/capvet/internal/elffile"
)

// EntersKernel reports whether an instruction that enters the kernel stands in
// the code, or bytes in it that read as one.
func EntersKernel(f *elffile.File) bool {
	found := false
	for _, r := range f.Code {
		off, room := f.InFile(r.Start)
		for size := min(r.End-r.Start, room); size > 0 && !found; {
			n := min(size, elffile.MaxSearch) // of one search
			f.Search(off, n, entryOverlap, func(_ uint64, b []byte) bool {
				found = f.Machine.EntersKernel(b)
				return !found
			})
			off, size = off+n, size-n
		}
	}
	return found
}

// entryOverlap is how much of one chunk the next repeats: no entry is longer. It
// keeps chunks aligned as instructions are.
const entryOverlap = 4
