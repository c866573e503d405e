package layers

import (
	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Summary is one layer's contribution to any image. It is immutable: images that
// share the layer share it.
type Summary struct {
	layer   *imagefs.Layer
	files   map[imagefs.Source]fileResult // the analysed files
	stored  int64                         // the layer's size as stored, in bytes
	skipped string                        // why some executables were not screened; empty if all were
	// throughTOC means that the layer was read through its table of contents.
	// stored is then the manifest's size, unverified.
	throughTOC bool
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

// resultBytes is the approximate memory of one fileResult, in bytes.
const resultBytes = 4 << 10

// Bytes returns the approximate memory of the summary, in bytes.
func (s *Summary) Bytes() int64 {
	return s.layer.Bytes() + resultBytes*int64(len(s.files)+1)
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
