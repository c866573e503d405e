package layers

import (
	"io"

	"github.com/capvet/capvet/internal/report"
)

// Inspector selects and analyses the files of an image. IsCandidate and Analyze
// are required; a nil function selects or finds no file.
type Inspector struct {
	// IsHint reports whether a text of an image's reference or configuration
	// hints at a known product, so that its layers are worth reading.
	IsHint func(text string) bool
	// IsCandidate reports whether a file is analysed for its name, the last
	// element of its path.
	IsCandidate func(base string) bool
	// Analyze reports on the executable of size bytes in r. path is its path in
	// the image.
	Analyze func(r io.ReaderAt, size int64, path string) (report.Binary, error)
	// Screen is Analyze for an executable that no name selects; false means one
	// without capability calls. Required for Blob.AllBinaries.
	Screen func(r io.ReaderAt, size int64, path string) (report.Binary, bool, error)
	// Settings parses a configuration file that the image's command names; false
	// means another kind of file.
	Settings func(text []byte) (report.Settings, bool)
	// IsLibrary reports whether a file of that name is a library of capability
	// calls.
	IsLibrary func(base string) bool
	// ResolveLibraries completes a verdict of report.ABILibrary with the verdicts
	// on the libraries. find returns the library that a loader would load for a
	// name.
	ResolveLibraries func(b *report.Binary, find func(name string) (report.Binary, bool))
}

func (i Inspector) isLibrary(base string) bool { return i.IsLibrary != nil && i.IsLibrary(base) }
