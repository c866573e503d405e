package elffile

import "debug/elf"

// TLSSlot is a GOT slot that the loader fills for a thread-local variable.
type TLSSlot struct {
	// Offset is the variable's offset within the file's TLS block.
	Offset int64
	// Descriptor reports whether the slot begins a TLS descriptor (a resolver
	// function and its argument) instead of an offset.
	Descriptor bool
}

const (
	maxThreadAlign = 1 << 16
	maxThreadData  = 1 << 30
)

// TLSBlock returns the start of the file's TLS block as an offset from the
// thread pointer, as if the block were that of the main program. ok is false
// without a block.
func (f *File) TLSBlock() (start int64, ok bool) {
	block := f.threadSegment()
	if block == nil {
		return 0, false
	}
	return f.Machine.TLS.Start(block.memsz, block.align), true
}

// TLSData returns the address of the initial value (.tdata) of width bytes at
// off from the thread pointer.
func (f *File) TLSData(off int64, width uint8) (addr uint64, ok bool) {
	start, ok := f.TLSBlock()
	if !ok {
		return 0, false
	}
	block := f.threadSegment()
	if off -= start; off < 0 || off > int64(block.filesz)-int64(width) {
		return 0, false
	}
	return block.vaddr + uint64(off), true
}

func (f *File) threadSegment() *Segment {
	for i := range f.c.segments {
		if s := &f.c.segments[i]; s.kind == elf.PT_TLS && s.align <= maxThreadAlign && s.memsz <= maxThreadData {
			return s
		}
	}
	return nil
}
