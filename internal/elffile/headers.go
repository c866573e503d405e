package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/capvet/capvet/internal/isa"
)

// Errors of Open.
var (
	// ErrNotELF means that the file has no ELF magic number.
	ErrNotELF = errors.New("not an ELF file")
	// ErrNotExecutable means that the file is neither an executable nor a shared object.
	ErrNotExecutable = errors.New("not an executable")
	// ErrMalformed means that the file is inconsistent or truncated.
	ErrMalformed = errors.New("malformed ELF file")
	// ErrTooLarge means that the file exceeds a limit.
	ErrTooLarge = errors.New("file too large")
)

// Segment is a program header. The file range of a PT_LOAD lies within the file.
type Segment struct {
	elf.ProgHeader
	Writable, Executable bool
}

// headers are the ELF, program and section headers.
type headers struct {
	r        io.ReaderAt
	size     uint64
	order    binary.ByteOrder
	bits     int
	kind     elf.Type
	machine  string // GOARCH
	entry    uint64
	segments []Segment
	// sections is empty if the section headers are invalid. An invalid section is
	// of type SHT_NULL and size 0, so that indexes stay valid.
	sections []elf.SectionHeader
	// phoff is the file offset of table, the program headers as the file has them.
	phoff uint64
	table []byte
	// shoff and shsize are the place of the section headers in the file.
	shoff, shsize uint64
}

// fits reports whether n bytes at off lie within limit. It cannot overflow.
func fits(off, n, limit uint64) bool { return off <= limit && n <= limit-off }

// readHeaders reads and checks the headers. A program runs without valid section headers.
func readHeaders(r io.ReaderAt, size int64) (*headers, error) {
	var e elf.Header64
	var e32 elf.Header32
	if size < int64(binary.Size(e32)) {
		return nil, fmt.Errorf("%w: %d bytes", ErrNotELF, size)
	}
	head := make([]byte, min(size, int64(binary.Size(e))))
	if err := readFull(r, head, 0); err != nil {
		return nil, err
	}
	if string(head[:4]) != elf.ELFMAG {
		return nil, fmt.Errorf("%w: magic number % x", ErrNotELF, head[:4])
	}
	class, data := elf.Class(head[elf.EI_CLASS]), elf.Data(head[elf.EI_DATA])
	if (class != elf.ELFCLASS64 || data != elf.ELFDATA2LSB) && runs64(head) {
		class, data = elf.ELFCLASS64, elf.ELFDATA2LSB
	}
	h := &headers{
		r: r, size: uint64(size), bits: map[elf.Class]int{elf.ELFCLASS32: 32, elf.ELFCLASS64: 64}[class],
		order: map[elf.Data]binary.ByteOrder{elf.ELFDATA2LSB: binary.LittleEndian, elf.ELFDATA2MSB: binary.BigEndian}[data],
	}
	switch {
	case h.bits == 0:
		return nil, fmt.Errorf("%w: class %d", ErrMalformed, int(class))
	case h.order == nil:
		return nil, fmt.Errorf("%w: byte order %d", ErrMalformed, int(data))
	}
	if h.bits == 32 {
		_, _ = binary.Decode(head, h.order, &e32)
		e = elf.Header64{
			Type: e32.Type, Machine: e32.Machine,
			Entry: uint64(e32.Entry), Phoff: uint64(e32.Phoff), Shoff: uint64(e32.Shoff),
			Phentsize: e32.Phentsize, Phnum: e32.Phnum, Shentsize: e32.Shentsize, Shnum: e32.Shnum, Shstrndx: e32.Shstrndx,
		}
	} else if _, err := binary.Decode(head, h.order, &e); err != nil {
		return nil, fmt.Errorf("%w: truncated header", ErrMalformed)
	}
	h.kind, h.entry = elf.Type(e.Type), e.Entry
	if h.kind != elf.ET_EXEC && h.kind != elf.ET_DYN {
		return nil, fmt.Errorf("%w: %v", ErrNotExecutable, h.kind)
	}
	h.machine = goarch(elf.Machine(e.Machine), h.bits, h.order)
	if err := h.readSegments(e.Phoff, e.Phentsize, e.Phnum); err != nil {
		return nil, err
	}
	h.readSections(e.Shoff, e.Shentsize, e.Shnum, e.Shstrndx)
	return h, nil
}

// runs64 reports whether a kernel of arm64 or amd64 runs the file: it reads neither the class
// nor the byte order (Linux, fs/binfmt_elf.c).
func runs64(head []byte) bool {
	var e elf.Header64
	if _, err := binary.Decode(head, binary.LittleEndian, &e); err != nil {
		return false
	}
	kind, machine := elf.Type(e.Type), elf.Machine(e.Machine)
	return (kind == elf.ET_EXEC || kind == elf.ET_DYN) && int(e.Phentsize) == binary.Size(elf.Prog64{}) &&
		slices.ContainsFunc(isa.Machines(), func(m *isa.Machine) bool { return m.ELF == machine })
}

func (h *headers) readSegments(off uint64, entsize, num uint16) error {
	switch {
	case num == 0:
		return fmt.Errorf("%w: no program headers", ErrMalformed)
	case int(entsize) != h.entsize(elf.Prog32{}, elf.Prog64{}):
		return fmt.Errorf("%w: program header size %d", ErrMalformed, entsize)
	case num > maxProgramHeaders:
		return fmt.Errorf("%w: %d program headers, limit %d", ErrTooLarge, num, maxProgramHeaders)
	}
	table, err := h.readRange(off, uint64(num)*uint64(entsize))
	if err != nil {
		return fmt.Errorf("program headers: %w", err)
	}
	h.phoff, h.table = off, table
	progs := decodeEntries(h, table, func(p elf.Prog32) elf.Prog64 {
		return elf.Prog64{
			Type: p.Type, Flags: p.Flags, Off: uint64(p.Off), Vaddr: uint64(p.Vaddr),
			Filesz: uint64(p.Filesz), Memsz: uint64(p.Memsz), Align: uint64(p.Align),
		}
	})
	for _, p := range progs {
		s := Segment{ProgHeader: elf.ProgHeader{
			Type: elf.ProgType(p.Type), Flags: elf.ProgFlag(p.Flags), Off: p.Off, Vaddr: p.Vaddr,
			Filesz: p.Filesz, Memsz: p.Memsz, Align: p.Align,
		}}
		s.Writable, s.Executable = s.Flags&elf.PF_W != 0, s.Flags&elf.PF_X != 0
		switch s.Type {
		case elf.PT_LOAD:
			if !fits(s.Off, s.Filesz, h.size) {
				return fmt.Errorf("%w: segment of %d bytes at offset %#x exceeds the file", ErrMalformed, s.Filesz, s.Off)
			}
			if s.Filesz > s.Memsz || s.Vaddr+s.Memsz < s.Vaddr {
				return fmt.Errorf("%w: segment at address %#x has the invalid memory size %d", ErrMalformed, s.Vaddr, s.Memsz)
			}
		case elf.PT_DYNAMIC, elf.PT_INTERP, elf.PT_NOTE, elf.PT_PHDR, elf.PT_TLS, elf.PT_GNU_EH_FRAME:
		default:
			continue
		}
		h.segments = append(h.segments, s)
	}
	return nil
}

func (h *headers) readSections(off uint64, entsize, num, names uint16) {
	if num == 0 || num > maxSections || int(entsize) != h.entsize(elf.Section32{}, elf.Section64{}) {
		return
	}
	table, err := h.readRange(off, uint64(num)*uint64(entsize))
	if err != nil {
		return
	}
	entries := decodeEntries(h, table, func(e elf.Section32) elf.Section64 {
		return elf.Section64{
			Name: e.Name, Type: e.Type, Flags: uint64(e.Flags), Addr: uint64(e.Addr), Off: uint64(e.Off), Size: uint64(e.Size), Link: e.Link,
		}
	})
	h.shoff, h.shsize = off, uint64(len(table))
	h.sections = make([]elf.SectionHeader, num)
	for i, e := range entries {
		s := elf.SectionHeader{
			Type: elf.SectionType(e.Type), Flags: elf.SectionFlag(e.Flags), Addr: e.Addr, Offset: e.Off, Size: e.Size, Link: e.Link,
		}
		if s.Type != elf.SHT_NOBITS && !fits(s.Offset, s.Size, h.size) || s.Flags&elf.SHF_COMPRESSED != 0 {
			s.Type, s.Size = elf.SHT_NULL, 0
		}
		h.sections[i] = s
	}
	if int(names) >= len(h.sections) || h.sections[names].Type == elf.SHT_NOBITS || h.sections[names].Size > maxNameTable {
		return
	}
	table, err = h.readRange(h.sections[names].Offset, h.sections[names].Size)
	for i, e := range entries {
		if err == nil && uint64(e.Name) < uint64(len(table)) {
			h.sections[i].Name = cString(table[e.Name:])
		}
	}
}

// decodeEntries decodes a table of headers of the file's class.
func decodeEntries[T32, T64 any](h *headers, table []byte, widen func(T32) T64) []T64 {
	entries := make([]T64, len(table)/h.entsize(*new(T32), *new(T64)))
	if h.bits == 64 {
		_, _ = binary.Decode(table, h.order, entries)
		return entries
	}
	narrow := make([]T32, len(entries))
	_, _ = binary.Decode(table, h.order, narrow)
	for i, e := range narrow {
		entries[i] = widen(e)
	}
	return entries
}

// entsize returns the size of a header of the file's class, in bytes.
func (h *headers) entsize(header32, header64 any) int {
	if h.bits == 32 {
		return binary.Size(header32)
	}
	return binary.Size(header64)
}

// section returns the first non-empty section with the name.
func (h *headers) section(name string) (elf.SectionHeader, bool) {
	for _, s := range h.sections {
		if s.Name == name && s.Size > 0 {
			return s, true
		}
	}
	return elf.SectionHeader{}, false
}

// readRange reads n bytes at off, which must lie within the file. The caller bounds n.
func (h *headers) readRange(off, n uint64) ([]byte, error) {
	if !fits(off, n, h.size) {
		return nil, fmt.Errorf("%w: %d bytes at offset %#x exceed the file", ErrMalformed, n, off)
	}
	b := make([]byte, n)
	return b, readFull(h.r, b, int64(off))
}

// eachEntry calls f with the count entries of entsize bytes at off until f returns
// false. It reads in chunks; e is valid during the call only.
func (h *headers) eachEntry(off, entsize uint64, count int, f func(i int, e []byte) bool) error {
	if count <= 0 || entsize == 0 || entsize > 64 || off > h.size {
		return nil
	}
	count = min(count, int((h.size-off)/entsize))
	perChunk := chunkSize / int(entsize)
	buf := make([]byte, min(count, perChunk)*int(entsize))
	for i := 0; i < count; {
		n := min(count-i, perChunk)
		b := buf[:n*int(entsize)]
		if err := readFull(h.r, b, int64(off)+int64(i)*int64(entsize)); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[entsize:] {
			if !f(i, b[:entsize]) {
				return nil
			}
			i++
		}
	}
	return nil
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: truncated at offset %#x", ErrMalformed, off+int64(n))
	}
	return fmt.Errorf("read %d bytes at %#x: %w", len(b), off, err)
}

// cString returns the zero-terminated string at the start of b, at most maxName bytes.
func cString(b []byte) string {
	b = b[:min(len(b), maxName)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
