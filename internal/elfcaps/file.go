package elfcaps

import (
	"io"

	"github.com/capvet/capvet/internal/absint"
	"github.com/capvet/capvet/internal/elffile"
)

// File is an ELF file opened for analysis. It is not safe for concurrent use.
type File struct {
	*elffile.File
	limits Limits
}

// Open reads the headers of the ELF file of size bytes in r. Errors wrap
// ErrNotELF, ErrNotExecutable, ErrMalformed, ErrTooLarge or the error of r.
func Open(r io.ReaderAt, size int64, limits Limits) (*File, error) {
	f, err := elffile.Open(r, size, limits.Limits, wanted)
	if err != nil {
		return nil, err
	}
	return &File{f, limits.withDefaults()}, nil
}

// wanted reports whether calls of an imported function affect the analysis.
func wanted(name string) bool {
	return name == "syscall" || name == "capget" || name == "capset" || absint.Models(name)
}
