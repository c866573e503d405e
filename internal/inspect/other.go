package inspect

import (
	"errors"
	"fmt"
	"io"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/report"
)

// Other is File for a file that nothing but its being an executable speaks for.
// It reports false for what has nothing to do with capabilities: no ELF file, a
// library, a program without capability calls. Most of those it tells by a look
// at their linkage and code, at a fraction of what File costs.
func Other(r io.ReaderAt, size int64, path string) (report.Binary, bool, error) {
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
