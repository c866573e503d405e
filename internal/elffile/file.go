package elffile

import (
	"debug/elf"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/isa"
)

// File is an open ELF file. It is not safe for concurrent use.
type File struct {
	*memory
	dynamic
	h       *headers
	Limits  Limits
	Machine *isa.Machine // nil if unsupported
	symtab  symbolTable
	facts   Facts
	// Code holds the address ranges of code. CodeComplete is false if
	// Limits.CodeBytes cuts them.
	Code         []Span
	CodeComplete bool
	PLT          []Span // .plt, .plt.sec and .plt.got
	codeSpan     Span   // the function in codeBuf
	codeBuf      []byte
	// work is the remainder of Limits.Work.
	work int
	left string
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
	f := &File{h: h, memory: newMemory(h), Limits: limits, Machine: isa.For(h.machine), work: limits.Work}
	f.checkHeaders()
	f.dynamic = readDynamic(f, imported)
	var unstripped bool
	f.symtab, unstripped = staticSymbols(h, limits)
	f.readFacts(!unstripped)
	for _, s := range h.sections {
		if strings.HasPrefix(s.Name, ".plt") {
			f.PLT = append(f.PLT, Span{s.Addr, max(s.Addr, s.Addr+s.Size)})
		}
	}
	f.Code, f.CodeComplete = f.codeRanges()
	if f.Machine != nil && f.HasSections() && f.sectionsLie() {
		h.sections, f.PLT = nil, nil
		f.Code, f.CodeComplete = f.codeRanges()
	}
	return f, nil
}

// leave records why a part of the file is not read, or not as a loader reads it.
func (f *File) leave(format string, args ...any) {
	if f.left == "" {
		f.left = fmt.Sprintf(format, args...)
	}
}

// Left returns why a part of the file was not read, "" if all was. It is complete after the
// last use of the file.
func (f *File) Left() string { return f.left }

// Spend subtracts n from the remaining work. It reports whether enough was left.
func (f *File) Spend(n int) bool {
	f.work -= n
	return f.work >= 0
}

// Exhausted reports whether Limits.Work is used up.
func (f *File) Exhausted() bool { return f.work < 0 }

// ReadAt fills b from the file offset off.
func (f *File) ReadAt(b []byte, off uint64) error { return readFull(f.h.r, b, int64(off)) }

// FixedAddress reports whether the file's addresses are those at run time (ET_EXEC).
func (f *File) FixedAddress() bool { return f.h.kind == elf.ET_EXEC }

// Imported reports whether the file imports one of the functions.
func (f *File) Imported(names ...string) bool {
	for _, name := range f.GOT.Imports {
		if slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// HasSections reports whether the file has valid section headers.
func (f *File) HasSections() bool { return len(f.h.sections) > 0 }
