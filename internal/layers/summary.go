package layers

import (
	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Summary is one layer's contribution to any image. It is immutable: images that
// share the layer share it.
type Summary struct {
	layer  *imagefs.Layer
	files  map[imagefs.Source]fileResult // the analysed files
	stored int64                         // the layer's size as stored, in bytes
	// unpacked is the uncompressed size, in bytes; 0 if not all of it was read.
	unpacked int64
	skipped  string // why some executables were not screened; empty if all were
	// throughTOC means that the layer was read through its table of contents.
	// stored is then the manifest's size, unverified.
	throughTOC bool
	bytes      int64
}

// fileResult is the result of analysing one file.
type fileResult struct {
	binary   report.Binary
	err      error            // of the analysis
	settings *report.Settings // of a configuration file, else nil
	users    map[string]int64 // user IDs by name, of a passwd(5), else nil
	elf      bool             // the file has an ELF header, or was not opened
	// screened means that the file belongs in a report on all binaries even if no
	// name selects it.
	screened bool
}

// legacy reports whether the file was analysed and makes a legacy call.
func (r fileResult) legacy() bool { return r.err == nil && r.binary.Capset.ABI.Legacy() }

// Approximate memory, in bytes, apart from texts: of a summary, of one fileResult
// with its place in the map, and of one user.
const summaryMemory, resultMemory, elementMemory = 512, 1 << 10, 112

// bytes returns the approximate memory of the result, in bytes.
func (r fileResult) bytes() int64 {
	n := resultMemory + r.binary.Bytes()
	for name := range r.users {
		n += int64(elementMemory + len(name))
	}
	if r.err != nil {
		n += int64(len(r.err.Error()))
	}
	return n
}

// Bytes returns the approximate memory of the summary, in bytes.
func (s *Summary) Bytes() int64 { return s.bytes }

// measured sets the memory of a complete summary.
func (s *Summary) measured() *Summary {
	s.bytes = summaryMemory + s.layer.Bytes() + int64(len(s.skipped))
	for at, result := range s.files {
		s.bytes += result.bytes() + int64(len(at.Path))
	}
	return s
}

// Covers reports whether every file of the layer at one of the wanted paths was
// analysed.
func (s *Summary) Covers(wanted map[string]bool) bool {
	analysed := map[string]bool{}
	for at := range s.files {
		analysed[at.Path] = true
	}
	for name := range wanted {
		if !analysed[name] && s.layer.HasFile(name) {
			return false
		}
	}
	return true
}
