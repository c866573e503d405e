package imagescan

import (
	"maps"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// summary is what one layer contributes to any image. It never changes: images
// that share the layer share it.
type summary struct {
	layer  *imagefs.Layer
	files  map[imagefs.Source]found // what was analysed
	stored int64                    // bytes of the layer as it is stored
	left   string                   // why not all other executables were looked at; empty: they were
	// throughTable says that the layer was read through its table of contents: stored
	// is then what the manifest says.
	throughTable bool
}

// found is what the analysis of one file came to.
type found struct {
	binary report.Binary
	err    error // the file could not be analysed
	// settings are what it says as a configuration file; nil: it is none
	settings *report.Settings
	// users are those of a passwd(5), by name; nil: it is none
	users map[string]int64
	elf   bool // it begins like an ELF file, or was not looked at
	other bool // there is something to say of it for who asks for all executables
}

// findingBytes is about what one analysed file takes in memory.
const findingBytes = 4 << 10

// bytes returns about how much memory the summary takes.
func (s *summary) bytes() int64 {
	return s.layer.Bytes() + findingBytes*int64(len(s.files)+1)
}

// has reports whether those of the wanted paths at which the layer has a file
// were analysed.
func (s *summary) has(wanted map[string]bool) bool {
	if len(wanted) == 0 {
		return true
	}
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

// known returns what was analysed, to be added to.
func (s *summary) known() map[imagefs.Source]found {
	if s == nil {
		return map[imagefs.Source]found{}
	}
	return maps.Clone(s.files)
}
