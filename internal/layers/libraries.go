package layers

import (
	"path"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

// multiarchTriplets are the architectures' directory names in Debian and its
// derivatives (https://wiki.debian.org/Multiarch/Tuples).
var multiarchTriplets = map[string]string{"arm64": "aarch64-linux-gnu", "amd64": "x86_64-linux-gnu"}

// libraryDirectories returns a loader's default search path: that of Debian,
// glibc, musl and Fedora.
func libraryDirectories(machine string) []string {
	directories := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}
	if triplet := multiarchTriplets[machine]; triplet != "" {
		directories = append([]string{"/lib/" + triplet, "/usr/lib/" + triplet}, directories...)
	}
	return directories
}

// resolveLibraries completes a verdict with those on the image's own libraries.
func (s stack) resolveLibraries(i Inspector, tree imagefs.Tree, b *report.Binary) {
	if i.ResolveLibraries == nil || b.Capset.ABI != report.ABILibrary {
		return
	}
	i.ResolveLibraries(b, func(name string) (report.Binary, bool) {
		if path.Base(name) != name {
			return report.Binary{}, false // a loader does not search for a path
		}
		for _, directory := range libraryDirectories(b.Machine) {
			f, ok := tree.Lookup(path.Join(directory, name))
			if !ok {
				continue
			}
			if result, ok := s.summaries[f.Layer].files[f.Source]; ok && result.err == nil {
				library := result.binary
				library.Path = f.Path
				return library, true
			}
		}
		return report.Binary{}, false
	})
}
