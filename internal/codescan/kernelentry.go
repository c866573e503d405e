package codescan

import "github.com/capvet/capvet/internal/elffile"

// EntersKernel reports whether the code contains the bytes of an instruction that
// enters the kernel.
func EntersKernel(f *elffile.File) bool {
	found := false
	for _, r := range f.Code {
		off, room := f.InFile(r.Start)
		for size := min(r.End-r.Start, room); size > 0 && !found; {
			n := min(size, elffile.MaxSearch)
			f.Search(off, n, entryOverlap, func(_ uint64, b []byte) bool {
				found = f.Machine.EntersKernel(b)
				return !found
			})
			off, size = off+n, size-n
		}
	}
	return found
}

// entryOverlap is the overlap of two chunks: the length of the longest kernel entry.
// It keeps chunks aligned as instructions are.
const entryOverlap = 4
