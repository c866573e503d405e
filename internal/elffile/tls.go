package elffile

import "debug/elf"

// TLSSlot is a GOT slot that the dynamic loader fills for a thread-local variable.
type TLSSlot struct {
	// Offset is the variable's offset in the file's TLS block.
	Offset int64
	// Descriptor reports whether the slot starts a TLS descriptor (resolver function
	// and argument) instead of holding an offset.
	Descriptor bool
}

const (
	maxTLSAlign = 1 << 16
	maxTLSSize  = 1 << 30
)

// TLSBlock returns the offset of the TLS block from the thread pointer, as in a main program.
func (f *File) TLSBlock() (start int64, ok bool) {
	block := f.tlsSegment()
	if block == nil {
		return 0, false
	}
	return f.Machine.TLS.Start(block.Memsz, block.Align), true
}

// TLSData returns the address of the initial value (.tdata) at off from the thread pointer.
func (f *File) TLSData(off int64, width uint8) (addr uint64, ok bool) {
	start, ok := f.TLSBlock()
	if !ok {
		return 0, false
	}
	block := f.tlsSegment()
	if off -= start; off < 0 || off > int64(block.Filesz)-int64(width) {
		return 0, false
	}
	return block.Vaddr + uint64(off), true
}

// tlsSegment returns the last PT_TLS, as the loaders do, or nil.
func (f *File) tlsSegment() *Segment {
	for i := len(f.h.segments) - 1; i >= 0; i-- {
		s := &f.h.segments[i]
		switch {
		case s.Type != elf.PT_TLS:
		case s.Align <= maxTLSAlign && s.Memsz <= maxTLSSize:
			return s
		default:
			f.leave("thread-local data of %d bytes, aligned to %d", s.Memsz, s.Align)
			return nil
		}
	}
	return nil
}
