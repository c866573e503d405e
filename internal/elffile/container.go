package elffile

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/capvet/capvet/internal/isa"
)

// Errors that Open returns, wrapped with what was met.
var (
	// ErrNotELF says that the file does not begin as an ELF file.
	ErrNotELF = errors.New("not an ELF file")
	// ErrNotExecutable says that the ELF file is neither an executable nor a
	// shared object.
	ErrNotExecutable = errors.New("not an executable")
	// ErrMalformed says that the file contradicts itself or is cut short.
	ErrMalformed = errors.New("malformed ELF file")
	// ErrTooLarge says that a limit was met.
	ErrTooLarge = errors.New("file too large")
)

// Segment is one program header whose file range lies within the file.
type Segment struct {
	kind                 elf.ProgType
	flags                elf.ProgFlag
	off, filesz          uint64
	vaddr, memsz         uint64
	align                uint64
	Writable, Executable bool
}

// section is one section header whose file range lies within the file.
type section struct {
	name            string
	kind            elf.SectionType
	flags           elf.SectionFlag
	addr, off, size uint64
	link            uint32
	entsize         uint64
	nameOffset      uint32
}

// container is the ELF file's frame: every range in it has been checked
// against the file's size. It is the only place that reads ELF headers.
type container struct {
	r        io.ReaderAt
	size     uint64
	order    binary.ByteOrder
	bits     int
	kind     elf.Type
	goarch   string
	machine  *isa.Machine // nil when its code is not read
	entry    uint64
	segments []Segment
	sections []section // empty when there are none that can be trusted
	// upx says that the packer UPX made this file of another.
	upx bool
}

// fits says that n bytes at off lie within limit, without overflow.
func fits(off, n, limit uint64) bool { return off <= limit && n <= limit-off }

// readContainer reads and checks the ELF header, the program headers and the
// section headers. Bad section headers are no error, since nothing needs them
// to run: they are then as if absent.
func readContainer(r io.ReaderAt, size int64) (*container, error) {
	var head [64]byte
	if size < 52 {
		return nil, fmt.Errorf("%w: %d bytes are no ELF header", ErrNotELF, size)
	}
	n := min(size, int64(len(head)))
	if err := readFull(r, head[:n], 0); err != nil {
		return nil, err
	}
	if string(head[:4]) != elf.ELFMAG {
		return nil, fmt.Errorf("%w: it begins with % x", ErrNotELF, head[:4])
	}
	c := &container{r: r, size: uint64(size)}
	switch head[elf.EI_CLASS] {
	case byte(elf.ELFCLASS32):
		c.bits = 32
	case byte(elf.ELFCLASS64):
		c.bits = 64
	default:
		return nil, fmt.Errorf("%w: class %d", ErrMalformed, head[elf.EI_CLASS])
	}
	switch head[elf.EI_DATA] {
	case byte(elf.ELFDATA2LSB):
		c.order = binary.LittleEndian
	case byte(elf.ELFDATA2MSB):
		c.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("%w: byte order %d", ErrMalformed, head[elf.EI_DATA])
	}
	if c.bits == 64 && size < 64 {
		return nil, fmt.Errorf("%w: header cut short", ErrMalformed)
	}
	c.kind = elf.Type(c.order.Uint16(head[16:]))
	if c.kind != elf.ET_EXEC && c.kind != elf.ET_DYN {
		return nil, fmt.Errorf("%w: ELF type %d", ErrNotExecutable, c.kind)
	}
	c.goarch, c.machine = goarch(elf.Machine(c.order.Uint16(head[18:])), c.bits, c.order)
	var phoff, shoff uint64
	var phsize, phnum, shsize, shnum, shstr uint16
	if c.bits == 64 {
		c.entry = c.order.Uint64(head[24:])
		phoff, shoff = c.order.Uint64(head[32:]), c.order.Uint64(head[40:])
		phsize, phnum = c.order.Uint16(head[54:]), c.order.Uint16(head[56:])
		shsize, shnum, shstr = c.order.Uint16(head[58:]), c.order.Uint16(head[60:]), c.order.Uint16(head[62:])
	} else {
		c.entry = uint64(c.order.Uint32(head[24:]))
		phoff, shoff = uint64(c.order.Uint32(head[28:])), uint64(c.order.Uint32(head[32:]))
		phsize, phnum = c.order.Uint16(head[42:]), c.order.Uint16(head[44:])
		shsize, shnum, shstr = c.order.Uint16(head[46:]), c.order.Uint16(head[48:]), c.order.Uint16(head[50:])
	}
	if err := c.readSegments(phoff, phsize, phnum); err != nil {
		return nil, err
	}
	c.readSections(shoff, shsize, shnum, shstr)
	return c, nil
}

func (c *container) readSegments(off uint64, entsize, num uint16) error {
	want := uint16(56)
	if c.bits == 32 {
		want = 32
	}
	if num == 0 {
		return fmt.Errorf("%w: no program headers", ErrMalformed)
	}
	if entsize != want {
		return fmt.Errorf("%w: program headers of %d bytes", ErrMalformed, entsize)
	}
	if num > maxProgramHeaders {
		return fmt.Errorf("%w: %d program headers, at most %d are read", ErrTooLarge, num, maxProgramHeaders)
	}
	table, err := c.readRange(off, uint64(num)*uint64(entsize))
	if err != nil {
		return fmt.Errorf("program headers: %w", err)
	}
	if b, err := c.readRange(off+uint64(len(table)), 8); err == nil {
		c.upx = string(b[4:]) == "UPX!" // the packer's own header: a checksum, then this
	}
	for ; len(table) > 0; table = table[entsize:] {
		var s Segment
		s.kind = elf.ProgType(c.order.Uint32(table))
		if c.bits == 64 {
			s.flags = elf.ProgFlag(c.order.Uint32(table[4:]))
			s.off, s.vaddr = c.order.Uint64(table[8:]), c.order.Uint64(table[16:])
			s.filesz, s.memsz = c.order.Uint64(table[32:]), c.order.Uint64(table[40:])
			s.align = c.order.Uint64(table[48:])
		} else {
			s.flags = elf.ProgFlag(c.order.Uint32(table[24:]))
			s.off, s.vaddr = uint64(c.order.Uint32(table[4:])), uint64(c.order.Uint32(table[8:]))
			s.filesz, s.memsz = uint64(c.order.Uint32(table[16:])), uint64(c.order.Uint32(table[20:]))
		}
		s.Writable, s.Executable = s.flags&elf.PF_W != 0, s.flags&elf.PF_X != 0
		switch s.kind {
		case elf.PT_LOAD:
			if !fits(s.off, s.filesz, c.size) {
				return fmt.Errorf("%w: a segment of %d bytes at %#x lies past the file's end", ErrMalformed, s.filesz, s.off)
			}
			if s.filesz > s.memsz || s.vaddr+s.memsz < s.vaddr {
				return fmt.Errorf("%w: a segment at %#x of %d bytes does not fit its memory", ErrMalformed, s.vaddr, s.memsz)
			}
		case elf.PT_DYNAMIC, elf.PT_INTERP, elf.PT_NOTE, elf.PT_TLS, elf.PT_GNU_EH_FRAME:
			if !fits(s.off, s.filesz, c.size) {
				continue
			}
		default:
			continue
		}
		c.segments = append(c.segments, s)
	}
	return nil
}

func (c *container) readSections(off uint64, entsize, num, names uint16) {
	want := uint16(64)
	if c.bits == 32 {
		want = 40
	}
	if num == 0 || num > maxSections || entsize != want {
		return
	}
	table, err := c.readRange(off, uint64(num)*uint64(entsize))
	if err != nil {
		return
	}
	var all []section
	for i := 0; i < int(num); i++ {
		e := table[i*int(entsize):]
		var s section
		s.nameOffset, s.kind = c.order.Uint32(e), elf.SectionType(c.order.Uint32(e[4:]))
		if c.bits == 64 {
			s.flags, s.addr = elf.SectionFlag(c.order.Uint64(e[8:])), c.order.Uint64(e[16:])
			s.off, s.size = c.order.Uint64(e[24:]), c.order.Uint64(e[32:])
			s.link, s.entsize = c.order.Uint32(e[40:]), c.order.Uint64(e[56:])
		} else {
			s.flags, s.addr = elf.SectionFlag(c.order.Uint32(e[8:])), uint64(c.order.Uint32(e[12:]))
			s.off, s.size = uint64(c.order.Uint32(e[16:])), uint64(c.order.Uint32(e[20:]))
			s.link, s.entsize = c.order.Uint32(e[24:]), uint64(c.order.Uint32(e[36:]))
		}
		if s.kind != elf.SHT_NOBITS && !fits(s.off, s.size, c.size) || s.flags&elf.SHF_COMPRESSED != 0 {
			s.kind, s.size = 0, 0 // keeps the numbering, holds nothing
		}
		all = append(all, s)
	}
	c.sections = all
	if int(names) >= len(all) || all[names].kind == elf.SHT_NOBITS || all[names].size > maxNameTable {
		return
	}
	table, err = c.readRange(all[names].off, all[names].size)
	if err != nil {
		return
	}
	for i := range all {
		all[i].name = stringAt(table, uint64(all[i].nameOffset))
	}
}

// section returns the section of that name.
func (c *container) section(name string) (section, bool) {
	for _, s := range c.sections {
		if s.name == name && s.size > 0 {
			return s, true
		}
	}
	return section{}, false
}

// readRange reads n bytes at off, which the caller has bounded; it checks that
// they lie within the file before it allocates.
func (c *container) readRange(off, n uint64) ([]byte, error) {
	if !fits(off, n, c.size) {
		return nil, fmt.Errorf("%w: %d bytes at %#x lie past the file's end", ErrMalformed, n, off)
	}
	b := make([]byte, n)
	return b, readFull(c.r, b, int64(off))
}

// each reads count entries of entsize bytes at off in chunks and calls f for
// each until it returns false. The slice is valid during the call only.
func (c *container) each(off, entsize uint64, count int, f func(i int, e []byte) bool) error {
	if count <= 0 || entsize == 0 || entsize > 64 || off > c.size {
		return nil
	}
	if room := (c.size - off) / entsize; uint64(count) > room {
		count = int(room)
	}
	perChunk := chunkSize / int(entsize)
	buf := make([]byte, min(count, perChunk)*int(entsize))
	for i := 0; i < count; {
		n := min(count-i, perChunk)
		b := buf[:n*int(entsize)]
		if err := readFull(c.r, b, int64(off)+int64(i)*int64(entsize)); err != nil {
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
		return fmt.Errorf("%w: cut short at %#x", ErrMalformed, off+int64(n))
	}
	return fmt.Errorf("read %d bytes at %#x: %w", len(b), off, err)
}

// stringAt returns the zero-terminated string at off of table, at most maxName
// bytes of it.
func stringAt(table []byte, off uint64) string {
	if off >= uint64(len(table)) {
		return ""
	}
	return cString(table[off:])
}

func cString(b []byte) string {
	b = b[:min(len(b), maxName)]
	for i, ch := range b {
		if ch == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
