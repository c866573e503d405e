package codescan

import "github.com/capvet/capvet/internal/elffile"

// entryOverlap is the maximum length of a system call instruction. It keeps chunks aligned.
const entryOverlap = 4

// EntersKernel reports whether the code contains the bytes of a system call, at any alignment.
func EntersKernel(f *elffile.File) bool {
	found := false
	for _, r := range f.Code {
		off, avail := f.InFile(r.Start)
		for size := min(r.End-r.Start, avail); size > 0 && !found; {
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
