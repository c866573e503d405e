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
		p.opaque[hashOf(path.Clean(dir))] = true
	case strings.HasPrefix(base, aufsMetadata):
	case strings.HasPrefix(base, whiteoutPrefix):
		// containerd refuses whiteouts of . and .., so they have no effect here.
		if removed := base[len(whiteoutPrefix):]; removed != "" && removed != "." && removed != ".." {
			p.removed[hashOf(path.Join(dir, removed))] = true
		}
	default:
		return false
	}
	return true
}

// hidesContent reports whether the part makes the lower content of a directory,
// of hash h, invisible.
func (p *part) hidesContent(directory string, h uint64) bool {
	if p.removed[h] || p.opaque[h] {
		return true
	}
	kind, ok := p.kinds[h]
	return ok && kind != Directory && directory != "/"
}
