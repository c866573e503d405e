package layers

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// maxText is the largest text file that is parsed, in bytes.
const maxText = 1 << 20

var errAnalysisPanic = errors.New("the analysis failed inside capvet")

// tooLarge is the result for a file over its size limit. Only the merged layers
// show whether the file affects the report.
func tooLarge(size, limit int64) fileResult {
	return fileResult{err: fmt.Errorf("%w: it has %d bytes, the limit is %d", imagefs.ErrTooLarge, size, limit), elf: true}
}

// analyze analyses a selected file, as an executable, as passwd(5) or as a
// configuration file, and releases it.
func (r *Reader) analyze(f *spooledFile, name string) fileResult {
	defer f.release()
	magic := make([]byte, len(elf.ELFMAG))
	n, err := f.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fileResult{err: err, elf: true}
	}
	binary, err := r.analyzeBinary(f, name)
	result := fileResult{binary: binary, err: err, elf: string(magic[:n]) == elf.ELFMAG}
	if result.elf || f.size > maxText {
		return result
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, f.size))
	switch {
	case err != nil:
	case path.Base(name) == path.Base(passwdFile):
		result.users = parsePasswd(text)
	default:
		result.settings = r.parseSettings(text)
	}
	return result
}

func (r *Reader) analyzeBinary(f *spooledFile, name string) (_ report.Binary, err error) {
	defer catchPanic(&err)
	return r.Inspector.Analyze(f, f.size, name)
}

// catchPanic is deferred, and turns a panic over one file into that file's error.
func catchPanic(err *error) {
	if p := recover(); p != nil {
		*err = errAnalysisPanic
	}
}

// parseSettings parses a configuration file. It returns nil for any other file,
// and after a panic.
func (r *Reader) parseSettings(text []byte) *report.Settings {
	defer func() { _ = recover() }()
	if r.Inspector.Settings != nil {
		if settings, ok := r.Inspector.Settings(text); ok {
			return &settings
		}
	}
	return nil
}
