package elffile

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"strings"

	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// File is an ELF file that has been opened for analysis. It is not safe for
// concurrent use; separate Files are independent.
type File struct {
	c       *container
	mem     *memory
	Limits  Limits
	Machine *isa.Machine // nil when its code is not read
	dyn     dynamic
	symtab  symbolTable
	isGo    bool
	facts   Facts
	Code    []Span
	// CodeComplete is false when there is more code than Limits.CodeBytes.
	CodeComplete bool
	PLT          []Span // sections
	codeSpan     Span   // the function in codeBuf
	codeBuf      []byte
	// work is the remainder of Limits.Work.
	work int
}

// Spend takes n from the remaining work and reports whether there was enough.
func (f *File) Spend(n int) bool {
	f.work -= n
	return f.work >= 0
}

// Exhausted reports whether Limits.Work is used up.
func (f *File) Exhausted() bool { return f.work < 0 }

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

// Open reads the headers of the ELF file of size bytes in r. Of the imported
// functions, the GOT slots of the wanted ones are kept. Errors wrap ErrNotELF,
// ErrNotExecutable, ErrMalformed, ErrTooLarge or the error of r.
func Open(r io.ReaderAt, size int64, limits Limits, wanted func(name string) bool) (*File, error) {
	limits = limits.withDefaults()
	if size > limits.FileSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, size, limits.FileSize)
	}
	c, err := readContainer(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{c: c, mem: newMemory(c), Limits: limits, Machine: c.machine, work: limits.Work}
	f.dyn = readDynamic(f, wanted)
	var unstripped bool
	f.symtab, unstripped = staticSymbols(c, limits)
	f.readFacts(!unstripped)
	f.Code, f.CodeComplete = f.codeRanges()
	f.PLT = f.pltSections()
	return f, nil
}

// Facts returns what the file says of itself.
func (f *File) Facts() Facts { return f.facts }

func (f *File) readFacts(stripped bool) {
	x := &f.facts
	x.Machine, x.Stripped, x.Needed = f.c.goarch, stripped, f.dyn.needed
	x.Linkage = report.LinkageStatic
	for _, s := range f.c.segments {
		switch s.kind {
		case elf.PT_INTERP:
			if b, err := f.c.readRange(s.off, min(s.filesz, maxName)); err == nil {
				x.Interpreter = cString(b)
			}
		case elf.PT_NOTE:
			f.readNotes(s)
		}
	}
	if x.Interpreter != "" || len(x.Needed) > 0 {
		x.Linkage = report.LinkageDynamic
	}
	x.PIE = f.c.kind == elf.ET_DYN
	// Some libraries have an interpreter, so that they can say their version.
	x.Shared = x.PIE && f.dyn.tags[elf.DT_FLAGS_1]&uint64(elf.DF_1_PIE) == 0 && (x.Interpreter == "" || f.dyn.soname != "")
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
func (f *File) readNotes(s Segment) {
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
		if s.flags&elf.SHF_ALLOC != 0 && s.flags&elf.SHF_EXECINSTR == 0 && s.kind == elf.SHT_PROGBITS && !strings.HasPrefix(s.name, ".eh_frame") {
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
		f.Search(r.off, r.size, overlap, func(off uint64, b []byte) bool {
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
			found = found || bytes.Contains(b, s)
		}
		return !found
	})
	return found
}

// Bytes returns up to n bytes of the file at addr, fewer at a segment's end. The
// slice is valid until the next call. n is at most 32 KiB.
func (f *File) Bytes(addr uint64, n int) []byte { return f.mem.bytes(addr, n) }

// Word reads width bytes (1, 2, 4 or 8) at addr in the file's byte order.
func (f *File) Word(addr uint64, width int) (uint64, bool) { return f.mem.word(addr, width) }

// SegmentOf returns the loaded segment that holds addr, nil without one.
func (f *File) SegmentOf(addr uint64) *Segment { return f.mem.segmentOf(addr) }

// Executable reports whether addr lies in an executable segment.
func (f *File) Executable(addr uint64) bool { return f.mem.executable(addr) }

// InFile returns the file offset of addr and the number of bytes in the file from
// there to the end of its segment, 0 for an address that the file does not back.
func (f *File) InFile(addr uint64) (off, n uint64) { return f.mem.inFile(addr) }

// ReadAt fills b from the file offset off.
func (f *File) ReadAt(b []byte, off uint64) error { return readFull(f.c.r, b, int64(off)) }

// FixedAddress reports whether the program runs at the addresses in the file (ET_EXEC).
func (f *File) FixedAddress() bool { return f.c.kind == elf.ET_EXEC }

// GOT returns the slots of the global offset table.
func (f *File) GOT() *GOT { return &f.dyn.got }

// Packed reports whether UPX compressed the program.
func (f *File) Packed() bool { return f.c.upx }

// HasSections reports whether the file has usable section headers.
func (f *File) HasSections() bool { return len(f.c.sections) > 0 }

// String returns the zero-terminated string at the virtual address addr.
func (f *File) String(addr uint64) string { return f.mem.cString(addr) }

// Pointer returns the address that the pointer at addr holds once loaded.
func (f *File) Pointer(addr uint64) (uint64, bool) {
	if f.c.bits != 64 {
		return f.mem.word(addr, 4)
	}
	return f.PointerAt(addr)
}

// Word32 reads four bytes of data at addr in the file's byte order.
func (f *File) Word32(addr uint64) (uint32, bool) {
	v, ok := f.mem.word(addr, 4)
	return uint32(v), ok
}
