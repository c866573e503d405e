package elffile

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// Facts are the properties of a file that need no analysis of its code.
type Facts struct {
	// Machine is the GOARCH name of the ELF machine, or "unknown".
	Machine string
	Libc    report.Libc
	Linkage report.Linkage
	// PIE means position independent, Stripped without .symtab, Shared a shared
	// library instead of a program, Go built by the Go toolchain.
	PIE, Stripped, Shared, Go bool
	// BuildID is the GNU build ID in lower-case hexadecimal, or "".
	BuildID string
	// Interpreter is the dynamic loader (PT_INTERP), Needed the names of the
	// required libraries (DT_NEEDED).
	Interpreter string
	Needed      []string
}

// Facts returns the facts of the file.
func (f *File) Facts() Facts { return f.facts }

func (f *File) readFacts(stripped bool) {
	x := &f.facts
	x.Machine, x.Stripped, x.Needed = f.h.machine, stripped, f.needed
	x.Linkage = report.LinkageStatic
	for _, s := range f.h.segments {
		switch s.Type {
		case elf.PT_INTERP:
			if b, err := f.h.readRange(s.Off, min(s.Filesz, maxName)); err == nil && x.Interpreter == "" { // the kernel takes the first
				x.Interpreter = cString(b)
			}
		case elf.PT_NOTE:
			f.readNotes(s)
		}
	}
	if x.Interpreter != "" || len(x.Needed) > 0 {
		x.Linkage = report.LinkageDynamic
	}
	x.PIE = f.h.kind == elf.ET_DYN
	// A few libraries, such as libc.so.6, have an interpreter: they print their
	// version when executed.
	x.Shared = x.PIE && f.tags[elf.DT_FLAGS_1]&uint64(elf.DF_1_PIE) == 0 && (x.Interpreter == "" || f.soname != "")
	if x.Shared && f.soname == "" && len(x.Needed) == 0 && f.h.entry != 0 {
		x.Shared = false // a static PIE of an old linker, without DF_1_PIE
	}
	for _, name := range append(pclntabSections[:], ".go.buildinfo") {
		if _, ok := f.h.section(name); ok {
			f.facts.Go = true
		}
	}
	x.Libc = f.libc()
}

const ntGNUBuildID = 3 // NT_GNU_BUILD_ID (binutils, include/elf/common.h)

// readNotes reads the build ID and the presence of Go's notes.
func (f *File) readNotes(s Segment) {
	if s.Filesz > maxNote {
		f.leave("a note has %d bytes, and may be Go's", s.Filesz)
	}
	b, err := f.h.readRange(s.Off, min(s.Filesz, maxNote))
	if err != nil {
		return
	}
	for len(b) >= 12 {
		name, desc, typ := uint64(f.h.order.Uint32(b)), uint64(f.h.order.Uint32(b[4:])), f.h.order.Uint32(b[8:])
		b = b[12:]
		nameEnd := (name + 3) &^ 3
		if nameEnd > uint64(len(b)) || desc > uint64(len(b))-nameEnd {
			return
		}
		n := string(b[:min(name, 4)])
		if n == "GNU\x00" && typ == ntGNUBuildID {
			f.facts.BuildID = fmt.Sprintf("%x", b[nameEnd:nameEnd+min(desc, 64)])
		}
		if strings.HasPrefix(n, "Go") {
			f.facts.Go = true
		}
		b = b[min(nameEnd+(desc+3)&^3, uint64(len(b))):]
	}
}

func (f *File) libc() report.Libc {
	names := append([]string{f.facts.Interpreter, f.soname}, f.facts.Needed...)
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
	// A statically linked libc leaves its messages in the data: glibc its version,
	// tunables and a start-up error, musl its strerror texts.
	if f.hasData([]byte("GNU C Library"), []byte("glibc.malloc."), []byte("FATAL: kernel too old")) {
		return report.LibcGlibc
	}
	if f.hasData([]byte("No error information\x00")) {
		return report.LibcMusl
	}
	if f.facts.Go {
		return report.LibcNone
	}
	return report.LibcUnknown
}

// goarch returns the GOARCH name of an ELF machine, or "unknown".
func goarch(machine elf.Machine, bits int, order binary.ByteOrder) string {
	little := order == binary.LittleEndian
	for _, m := range isa.Machines() {
		if m.ELF == machine && bits == 64 && little {
			return m.Name
		}
	}
	suffix := map[bool]string{true: "le"}[little]
	switch {
	case machine == elf.EM_386 && bits == 32:
		return "386"
	case machine == elf.EM_ARM && bits == 32 && little:
		return "arm"
	case machine == elf.EM_RISCV && bits == 64:
		return "riscv64"
	case machine == elf.EM_S390 && bits == 64:
		return "s390x"
	case machine == elf.EM_PPC64:
		return "ppc64" + suffix
	case machine == elf.EM_LOONGARCH && bits == 64:
		return "loong64"
	case machine == elf.EM_MIPS && bits == 64:
		return "mips64" + suffix
	case machine == elf.EM_MIPS:
		return "mips" + suffix
	}
	return "unknown"
}
