package elfcaps

import (
	"fmt"
	"io"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// File is an ELF file that has been opened for analysis. It is not safe for
// concurrent use; separate Files are independent.
type File struct {
	c      *container
	mem    *memory
	limits Limits
	dyn    dynamic
	symtab symbolTable
	isGo   bool
	facts  Facts
	code   []span
	// complete is false when there is more code than may be read.
	complete bool
	buf      []byte
	// work is what is left of Limits.Work.
	work int
}

// spend takes n from the work that is left and says whether there was enough.
func (f *File) spend(n int) bool {
	f.work -= n
	return f.work >= 0
}

// Facts are what the file says of itself.
type Facts struct {
	// Machine is the GOARCH name of the ELF machine, or "unknown".
	Machine string
	Libc    report.Libc
	Linkage report.Linkage
	// PIE: position independent. Stripped: without .symtab. Shared: a shared
	// library, not a program. Go: built by the Go toolchain.
	PIE, Stripped, Shared, Go bool
	// BuildID is the GNU build ID in lower-case hexadecimal, if there is one.
	BuildID string
	// Interpreter is the dynamic loader that the file asks for.
	Interpreter string
	// Needed are the libraries that the file asks for.
	Needed []string
}

// Open reads the frame of the ELF file of size bytes in r. Errors wrap
// ErrNotELF, ErrNotExecutable, ErrMalformed, ErrTooLarge or what r returned.
func Open(r io.ReaderAt, size int64, limits Limits) (*File, error) {
	limits = limits.withDefaults()
	if size > limits.FileSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, size, limits.FileSize)
	}
	c, err := readContainer(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{c: c, mem: newMemory(c), limits: limits, work: limits.Work}
	f.dyn = readDynamic(c, f.mem, limits)
	var unstripped bool
	f.symtab, unstripped = staticSymbols(c, limits)
	f.readFacts(!unstripped)
	f.code, f.complete = f.codeRanges()
	return f, nil
}

// Facts returns what the file says of itself.
func (f *File) Facts() Facts { return f.facts }

func (f *File) readFacts(stripped bool) {
	x := &f.facts
	x.Machine, x.Stripped, x.Needed = f.c.machine, stripped, f.dyn.needed
	x.Linkage = report.LinkageStatic
	for _, s := range f.c.segments {
		switch s.kind {
		case segInterp:
			if b, err := f.c.readRange(s.off, min(s.filesz, maxName)); err == nil {
				x.Interpreter = cString(b)
			}
		case segNote:
			f.readNotes(s)
		}
	}
	if x.Interpreter != "" || len(x.Needed) > 0 {
		x.Linkage = report.LinkageDynamic
	}
	x.PIE = f.c.kind == typeDyn
	// Some libraries have an interpreter, so that they can say their version.
	x.Shared = x.PIE && f.dyn.tags[dtFlags1]&flag1PIE == 0 && (x.Interpreter == "" || f.dyn.soname != "")
	if x.Shared && f.dyn.soname == "" && len(x.Needed) == 0 && f.c.entry != 0 {
		x.Shared = false // an old static PIE
	}
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab", ".go.buildinfo"} {
		if _, ok := f.c.section(name); ok {
			f.isGo = true
		}
	}
	x.Go = f.isGo
	x.Libc = f.libc()
}

// readNotes reads the build ID.
func (f *File) readNotes(s segment) {
	b, err := f.c.readRange(s.off, min(s.filesz, maxNote))
	if err != nil {
		return
	}
	for len(b) >= 12 {
		name, desc, kind := uint64(f.c.order.Uint32(b)), uint64(f.c.order.Uint32(b[4:])), f.c.order.Uint32(b[8:])
		b = b[12:]
		nameEnd := (name + 3) &^ 3
		if nameEnd > uint64(len(b)) || desc > uint64(len(b))-nameEnd {
			return
		}
		n := string(b[:min(name, 4)])
		if n == "GNU\x00" && kind == 3 {
			f.facts.BuildID = fmt.Sprintf("%x", b[nameEnd:nameEnd+min(desc, 64)])
		}
		if strings.HasPrefix(n, "Go") {
			f.isGo = true
		}
		b = b[min(nameEnd+(desc+3)&^3, uint64(len(b))):]
	}
}

func (f *File) libc() report.Libc {
	names := append([]string{f.facts.Interpreter, f.dyn.soname}, f.facts.Needed...)
	for _, n := range names {
		n = n[strings.LastIndexByte(n, '/')+1:]
		switch {
		case strings.HasPrefix(n, "ld-musl-"), strings.HasPrefix(n, "libc.musl-"), n == "libc.so":
			return report.LibcMusl
		case n == "libc.so.6", strings.HasPrefix(n, "ld-linux"), n == "ld64.so.1", n == "ld64.so.2":
			return report.LibcGlibc
		}
	}
	if f.facts.Linkage == report.LinkageDynamic {
		return report.LibcUnknown
	}
	// Static: the library's own messages are in the data (glibc's
	// version and tunables, musl's strerror).
	if f.HasData([]byte("GNU C Library"), []byte("glibc.malloc."), []byte("FATAL: kernel too old")) {
		return report.LibcGlibc
	}
	if f.HasData([]byte("No error information\x00")) {
		return report.LibcMusl
	}
	if f.isGo {
		return report.LibcNone
	}
	return report.LibcUnknown
}

// dataRanges are the parts of the file that the program reads but does not
// run: loaded sections without code, or segments where there are no sections.
func (f *File) dataRanges() (ranges []struct{ off, size, addr uint64 }) {
	for _, s := range f.c.sections {
		if s.flags&secFlagAlloc != 0 && s.flags&secFlagExec == 0 && s.kind == secProgbits && !strings.HasPrefix(s.name, ".eh_frame") {
			ranges = append(ranges, struct{ off, size, addr uint64 }{s.off, s.size, s.addr})
		}
	}
	if len(ranges) == 0 {
		for _, s := range f.mem.loads {
			ranges = append(ranges, struct{ off, size, addr uint64 }{s.off, s.filesz, s.vaddr})
		}
	}
	// Ranges that lie over each other cost no more than the file is long.
	left := f.c.size
	for i := range ranges {
		ranges[i].size = min(ranges[i].size, left)
		left -= ranges[i].size
	}
	return ranges
}

// SearchData calls visit with the loaded data of the file in chunks, of which
// each repeats the last overlap bytes of the one before, until it returns
// false. addr is the virtual address of b, which is valid during the call.
func (f *File) SearchData(overlap int, visit func(addr uint64, b []byte) bool) {
	more := true
	for _, r := range f.dataRanges() {
		if !more {
			return
		}
		f.search(r.off, r.size, overlap, func(off uint64, b []byte) bool {
			more = visit(r.addr+off-r.off, b)
			return more
		})
	}
}

// HasData says that one of the byte strings stands in the file's data.
func (f *File) HasData(any ...[]byte) bool {
	longest := 0
	for _, s := range any {
		longest = max(longest, len(s))
	}
	found := false
	f.SearchData(longest, func(_ uint64, b []byte) bool {
		for _, s := range any {
			found = found || containsBytes(b, s)
		}
		return !found
	})
	return found
}

// String returns the zero-terminated string at the virtual address addr.
func (f *File) String(addr uint64) string { return f.mem.cString(addr) }

// Pointer returns the address that the pointer at addr holds once loaded.
func (f *File) Pointer(addr uint64) (uint64, bool) {
	if f.c.bits != 64 {
		return f.mem.word(addr, 4)
	}
	return f.pointerAt(addr)
}

// Word32 reads four bytes of data at addr in the file's byte order.
func (f *File) Word32(addr uint64) (uint32, bool) {
	v, ok := f.mem.word(addr, 4)
	return uint32(v), ok
}
