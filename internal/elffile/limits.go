package elffile

import "cmp"

// Limits bound the work on one file. A zero field means its default.
type Limits struct {
	// FileSize is the size of the largest file that is opened, in bytes.
	FileSize int64
	// CodeBytes is the size of the executable ranges that are read. Every pass over
	// the code costs at most this.
	CodeBytes int64
	// FunctionBytes is the size of the longest function that is read.
	FunctionBytes int
	// Symbols and Relocations are the most entries that are read of each table.
	Symbols, Relocations int
	// Work bounds all other repeated work: instructions that are decoded without
	// being interpreted, symbols compared, relocations searched.
	Work int
}

// Defaults of Limits.
const (
	DefaultFileSize      = 2 << 30
	DefaultCodeBytes     = 512 << 20
	DefaultFunctionBytes = 1 << 18
	DefaultSymbols       = 2 << 20
	DefaultRelocations   = 4 << 20
	DefaultWork          = 64 << 20
)

// Bounds that no caller needs to change.
const (
	maxProgramHeaders = 256
	maxSections       = 4096
	maxNameTable      = 1 << 20   // bytes of section names that are read
	maxDynamic        = 4096      // entries of the dynamic section
	maxNeeded         = 256       // libraries
	maxNote           = 1 << 16   // bytes of one note segment
	maxName           = 512       // bytes of one symbol's or library's name
	MaxSearch         = 256 << 20 // of one search
	blockSize         = 32 << 10  // of the cache for random access
	maxBlocks         = 128
	chunkSize         = 256 << 10 // of sequential reads
)

func (l Limits) withDefaults() Limits {
	l.FileSize = cmp.Or(l.FileSize, DefaultFileSize)
	l.CodeBytes = cmp.Or(l.CodeBytes, DefaultCodeBytes)
	l.FunctionBytes = cmp.Or(l.FunctionBytes, DefaultFunctionBytes)
	l.Symbols = cmp.Or(l.Symbols, DefaultSymbols)
	l.Relocations = cmp.Or(l.Relocations, DefaultRelocations)
	l.Work = cmp.Or(l.Work, DefaultWork)
	return l
}
