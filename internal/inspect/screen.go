package inspect

import (
	"errors"
	"fmt"
	"io"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/report"
)

// Screen is File for an executable of an unknown program. It returns false for
// a file without capability calls of its own: no ELF file, a library, or a
// program that makes none. Most of those it recognises by their linkage and
// code, at a fraction of the cost of File.
func Screen(r io.ReaderAt, size int64, path string) (report.Binary, bool, error) {
	f, err := elfcaps.Open(r, size, elfcaps.Limits{})
	if errors.Is(err, elffile.ErrNotELF) || errors.Is(err, elffile.ErrNotExecutable) {
		return report.Binary{}, false, nil
	}
	if err != nil {
		return report.Binary{}, false, fmt.Errorf("inspect %s: %w", path, err)
	}
	if f.Facts().Shared || !f.MayCall() {
		return report.Binary{}, false, nil
	}
	calls := f.Capset()
	if calls.ABI == report.ABINone {
		return report.Binary{}, false, nil
	}
	b, err := describe(f, r, size, path, func(*elfcaps.File) report.Capset { return calls })
	return b, err == nil, err
}
