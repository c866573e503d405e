package imagescan

import (
	"path"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// Libraries are those that a verdict may rest on. Without them such a verdict
// says only which they are.
type Libraries struct {
	// Is says by a path's last element whether a file is one.
	Is func(base string) bool
	// Resolve adds to a verdict what the libraries do that find returns by the
	// name that a loader would look for.
	Resolve func(b *report.Binary, find func(name string) (report.Binary, bool))
}

func (l Libraries) is(base string) bool { return l.Is != nil && l.Is(base) }

// triplets are the names that Debian and what derives from it give an
// architecture's own folder.
var triplets = map[string]string{"arm64": "aarch64-linux-gnu", "amd64": "x86_64-linux-gnu"}

// libraryFolders are where a loader looks that is not told otherwise: glibc's
// own, Debian's, musl's and Fedora's.
func libraryFolders(machine string) []string {
	folders := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}
	if triplet := triplets[machine]; triplet != "" {
		folders = append([]string{"/lib/" + triplet, "/usr/lib/" + triplet}, folders...)
	}
	return folders
}

// resolve adds to a verdict what the image's own libraries do.
func (s stack) resolve(l Libraries, tree imagefs.Tree, b *report.Binary) {
	if l.Resolve == nil || b.Capset.ABI != report.ABILibrary {
		return
	}
	l.Resolve(b, func(name string) (report.Binary, bool) {
		if path.Base(name) != name {
			return report.Binary{}, false // a path is no name to look for
		}
		for _, folder := range libraryFolders(b.Machine) {
			f, ok := tree.Lookup(path.Join(folder, name))
			if !ok {
				continue
			}
			if of, ok := s.summaries[f.Layer].files[f.Source]; ok && of.err == nil {
				library := of.binary
				library.Path = f.Path
				return library, true
			}
		}
		return report.Binary{}, false
	})
}
