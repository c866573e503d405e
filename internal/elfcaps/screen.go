package elfcaps

import "bytes"

// MayCall reports whether the file has any way at all to a capability call: a
// linkage to what makes one or finds one by name, a library that does, or code
// that enters the kernel itself. Where it has none, Capset is ABINone. It costs
// a look at the linkage and at most one pass over the code, as fast as bytes can
// be compared. A file whose code cannot be read may call.
func (f *File) MayCall() bool {
	m := machineFor(f.c.machine)
	if m == nil || f.c.upx || !f.complete {
		return true
	}
	for _, name := range f.facts.Needed {
		if LibraryOf(name) != "" {
			return true
		}
	}
	for _, name := range f.dyn.imports {
		switch name {
		case "syscall", "capget", "capset", "dlsym":
			return true
		}
	}
	return f.entersKernel(m)
}

// entersKernel reports whether an instruction that enters the kernel stands in
// the code, or bytes in it that read as one.
func (f *File) entersKernel(m *machine) bool {
	entry := entryAMD64
	if m.name == "arm64" {
		entry = entryARM64
	}
	found := false
	for _, r := range f.code {
		off, room := f.mem.inFile(r.start)
		for size := min(r.end-r.start, room); size > 0 && !found; {
			n := min(size, maxSearchBytes) // of one search
			f.search(off, n, entryOverlap, func(_ uint64, b []byte) bool {
				found = entry(b)
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

func entryAMD64(b []byte) bool { return bytes.Contains(b, []byte{0x0f, 0x05}) }

// entryARM64 looks for svc, whatever its immediate, wherever it stands: that it
// is aligned the pass over the code checks.
func entryARM64(b []byte) bool {
	for i := 3; i < len(b); i++ {
		k := bytes.IndexByte(b[i:], 0xd4)
		if k < 0 {
			return false
		}
		i += k
		if b[i-3]&0x1f == 0x01 && b[i-1]&0xe0 == 0 {
			return true
		}
	}
	return false
}
