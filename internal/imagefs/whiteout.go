package imagefs

import (
	"path"
	"strings"
)

// Whiteouts of the OCI image format (image specification, "Whiteouts"); they
// come from AUFS.
const (
	whiteoutPrefix = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
	aufsMetadata   = ".wh..wh." // prefix of other AUFS files
)

// addWhiteout records a whiteout, and reports whether name is one.
func (p *part) addWhiteout(name string) bool {
	dir, base := path.Split(name)
	switch {
	case base == opaqueWhiteout:
		p.opaque[p.hash(path.Clean(dir))] = true
	case strings.HasPrefix(base, aufsMetadata):
	case strings.HasPrefix(base, whiteoutPrefix):
		// containerd refuses whiteouts of . and .., so they have no effect here.
		if removed := base[len(whiteoutPrefix):]; removed != "" && removed != "." && removed != ".." {
			p.removed[p.hash(path.Join(dir, removed))] = true
		}
	default:
		return false
	}
	return true
}

// hides applies the whiteouts of the part, and its replacements of directories,
// to the parts below: it reports whether their entry at a path is invisible.
func (p *part) hides(name string) bool {
	if p.removes(name) {
		return true
	}
	for parent := path.Dir(name); ; parent = path.Dir(parent) {
		if p.hidesContent(parent) {
			return true
		}
		if parent == "/" {
			return false
		}
	}
}

// removes reports whether a whiteout of the part is for the path itself.
func (p *part) removes(name string) bool { return p.removed[p.hash(name)] }

// hidesContent reports whether the part makes the lower content of a directory
// invisible.
func (p *part) hidesContent(directory string) bool {
	h := p.hash(directory)
	if p.removed[h] || p.opaque[h] {
		return true
	}
	e, ok := p.entry(directory)
	return ok && e.Kind != Directory && directory != "/"
}
