package elffile

import (
	"bytes"
	"debug/elf"
)

// checkHeaders compares the program headers that the dynamic loader reads, in memory, with those
// that the kernel reads, in the file (Linux, fs/binfmt_elf.c: AT_PHDR).
func (f *File) checkHeaders() {
	at, loaded, interpreter := uint64(0), false, false
	for _, s := range f.h.segments {
		interpreter = interpreter || s.Type == elf.PT_INTERP
		if s.Type == elf.PT_LOAD && !loaded && f.h.phoff >= s.Off && f.h.phoff-s.Off < s.Filesz {
			at, loaded = f.h.phoff-s.Off+s.Vaddr, true
		}
	}
	if !interpreter {
		return
	}
	for rest, addr := f.h.table, at; len(rest) > 0; {
		b := f.Bytes(addr, min(len(rest), blockSize))
		if len(b) == 0 || !bytes.HasPrefix(rest, b) {
			f.leave("the program headers in memory differ from those in the file")
			return
		}
		rest, addr = rest[len(b):], addr+uint64(len(b))
	}
	for _, s := range f.h.segments {
		if s.Type == elf.PT_PHDR && s.Vaddr != at {
			f.leave("the program headers are at %#x, not at %#x as they say", at, s.Vaddr)
		}
	}
}

const (
	upxMagic = "UPX!"
	// upxTail is the size of the end of the file with UPX's header, in bytes.
	upxTail = 64
)

// Packed reports whether the program unpacks itself when it starts, so that its code is not in
// the file. UPX writes a header behind the program headers and one at the end of the file; other
// packers, and edited files, have no section headers, no dynamic section, and unpack into memory
// that is executable and writable or reserved, or from bytes that are not mapped.
func (f *File) Packed() bool {
	// A checksum precedes the magic number.
	if b, err := f.h.readRange(f.h.phoff+uint64(len(f.h.table)), 8); err == nil && string(b[4:]) == upxMagic {
		return true
	}
	if f.HasSections() || len(f.tags) > 0 {
		return false
	}
	tail := min(f.h.size, upxTail)
	if b, err := f.h.readRange(f.h.size-tail, tail); err == nil && bytes.Contains(b, []byte(upxMagic)) {
		return true
	}
	mapped := uint64(0)
	for _, s := range f.loads {
		mapped += s.Filesz
		if s.Writable && (s.Executable || s.Filesz == 0 && s.Memsz >= f.h.size) {
			return true
		}
	}
	return mapped < f.h.size/2
}
