package elffile

import "cmp"

// Limits bounds the work on one file. Zero fields mean the defaults.
type Limits struct {
	// FileSize is the maximum size of a file, in bytes.
	FileSize int64
	// CodeBytes is the maximum total size of the executable ranges, in bytes. It
	// bounds every pass over the code.
	CodeBytes int64
	// FunctionBytes is the maximum size of a function, in bytes.
	FunctionBytes int
	// Symbols and Relocations are the maximum numbers of entries of each table.
	Symbols, Relocations int
	// Work bounds all other repeated work: decoded instructions, compared symbols,
	// searched relocations.
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

// Fixed limits. Sizes are in bytes.
const (
	maxProgramHeaders = 256
	maxSections       = 4096
	maxNameTable      = 1 << 20   // section names
	maxDynamic        = 4096      // entries of the dynamic section
	maxNeeded         = 256       // required libraries
	maxNote           = 1 << 16   // one note segment
	maxName           = 512       // one name of a symbol or library
	MaxSearch         = 256 << 20 // one call of Search
	blockSize         = 32 << 10  // cache for random access
	maxBlocks         = 128
	chunkSize         = 256 << 10 // sequential reads
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
