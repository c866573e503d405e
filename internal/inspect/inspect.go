// Package inspect turns one ELF file into a complete report.Binary: it runs
// elfcaps over the file and adds what package product knows of the program.
// The webhook's image reader and the command line both enter here.
package inspect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/report"
)

// File analyses the ELF file of size bytes in r. path is used for the report's
// Path and for recognising products by name; nothing is opened.
func File(r io.ReaderAt, size int64, path string) (report.Binary, error) {
	f, err := elfcaps.Open(r, size, elfcaps.Limits{})
	if err != nil {
		return report.Binary{}, fmt.Errorf("inspect %s: %w", path, err)
	}
	x := f.Facts()
	b := report.Binary{
		Path: path, Size: size, Machine: x.Machine, Libc: x.Libc, Linkage: x.Linkage,
		PIE: x.PIE, Stripped: x.Stripped, BuildID: x.BuildID,
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, size)); err != nil {
		return report.Binary{}, fmt.Errorf("inspect %s: %w", path, err)
	}
	b.SHA256 = hex.EncodeToString(sum.Sum(nil))
	b.Capset = f.Capset()
	return b, nil
}
