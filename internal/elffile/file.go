package elffile

import (
	"debug/elf"
	"fmt"
	"io"

	"github.com/capvet/capvet/internal/isa"
)

// File is an open ELF file. It is not safe for concurrent use; separate Files are
// independent.
type File struct {
	h       *headers
	mem     *memory
	Limits  Limits
	Machine *isa.Machine // nil if unsupported
	dyn     dynamic
	symtab  symbolTable
	isGo    bool
	facts   Facts
	// Code holds the address ranges of code. CodeComplete is false if
	// Limits.CodeBytes cuts them.
	Code         []Span
	CodeComplete bool
	PLT          []Span // sections of PLT entries
	codeSpan     Span   // the function in codeBuf
	codeBuf      []byte
	// work is the remainder of Limits.Work.
	work int
}

// Open reads the headers, the dynamic section and the symbol tables of the ELF file of
// size bytes in r. imported selects the imported functions of GOT.Imports by name.
// Errors wrap ErrNotELF, ErrNotExecutable, ErrMalformed, ErrTooLarge or the error of r.
func Open(r io.ReaderAt, size int64, limits Limits, imported func(name string) bool) (*File, error) {
	limits = limits.withDefaults()
	if size > limits.FileSize {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, size, limits.FileSize)
	}
	h, err := readHeaders(r, size)
	if err != nil {
		return nil, err
	}
	f := &File{h: h, mem: newMemory(h), Limits: limits, Machine: isa.For(h.machine), work: limits.Work}
	f.dyn = readDynamic(f, imported)
	var unstripped bool
	f.symtab, unstripped = staticSymbols(h, limits)
	f.readFacts(!unstripped)
	f.Code, f.CodeComplete = f.codeRanges()
	f.PLT = f.pltSections()
	return f, nil
}

// Spend subtracts n from the remaining work. It reports whether enough was left.
func (f *File) Spend(n int) bool {
	f.work -= n
	return f.work >= 0
}

// Exhausted reports whether Limits.Work is used up.
func (f *File) Exhausted() bool { return f.work < 0 }

// Bytes returns up to n bytes at the virtual address addr, fewer at the end of a
// segment. n is at most 32 KiB. The slice is valid until the next call.
func (f *File) Bytes(addr uint64, n int) []byte { return f.mem.bytes(addr, n) }

// Word reads width bytes (1, 2, 4 or 8) at addr in the file's byte order.
func (f *File) Word(addr uint64, width int) (uint64, bool) { return f.mem.word(addr, width) }

// String returns the zero-terminated string at addr.
func (f *File) String(addr uint64) string { return f.mem.cString(addr) }

// Pointer returns the pointer at addr after relocation, for a load address of 0.
func (f *File) Pointer(addr uint64) (uint64, bool) {
	if f.h.bits != 64 {
		return f.mem.word(addr, 4)
	}
	return f.PointerAt(addr)
}

// SegmentOf returns the loaded segment that contains addr, or nil.
func (f *File) SegmentOf(addr uint64) *Segment { return f.mem.segmentOf(addr) }

// Executable reports whether addr lies in an executable segment.
func (f *File) Executable(addr uint64) bool { return f.mem.executable(addr) }

// InFile returns the file offset of addr and the number of bytes in the file from
// there to the end of the segment. n is 0 if the file has no byte for addr.
func (f *File) InFile(addr uint64) (off, n uint64) { return f.mem.inFile(addr) }

// ReadAt fills b from the file offset off.
func (f *File) ReadAt(b []byte, off uint64) error { return readFull(f.h.r, b, int64(off)) }

// FixedAddress reports whether the file's addresses are those at run time (ET_EXEC).
func (f *File) FixedAddress() bool { return f.h.kind == elf.ET_EXEC }

// GOT returns the slots of the global offset table.
func (f *File) GOT() *GOT { return &f.dyn.got }

// Packed reports whether UPX compressed the program.
func (f *File) Packed() bool { return f.h.upx }

// HasSections reports whether the file has valid section headers.
func (f *File) HasSections() bool { return len(f.h.sections) > 0 }
