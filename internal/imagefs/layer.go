package imagefs

import (
	"hash/maphash"
	"path"
	"strings"
)

// Kind is what an entry of a layer is.
type Kind uint8

// Kinds of entries.
const (
	Regular Kind = iota + 1
	Directory
	Symlink
	HardLink
	Other // devices, FIFOs
)

// Entry is what a layer says of one path.
type Entry struct {
	Kind Kind
	// Link is a symbolic link's target as written, or the clean path of the
	// file that a hard link names.
	Link string
}

// Source names a file's content within its layer. Paths are absolute, clean and
// slash-separated.
type Source struct {
	// Part counts how often the layer took back, before this file, what it had
	// itself written: 0 in all but odd layers.
	Part int
	Path string
}

// Layer is what one layer does to the file system. It does not change once it
// is read.
type Layer struct {
	// parts lie on each other like layers, the lowest first. Within one no
	// entry undoes what another did, but for the last of a path, which stands.
	// Whiteouts are of the lowest: they are for what lies below the layer.
	parts []*part
}

// part is a run of a layer's entries.
type part struct {
	links  map[string]Entry // symbolic and hard
	wanted map[string]bool  // the regular files that were asked for

	seed   maphash.Seed
	kinds  map[uint64]Kind // by hash of the path: of every entry
	gone   map[uint64]bool // whiteouts
	opaque map[uint64]bool // directories whose lower content is gone
	// directories have something in them, listed or not. Whiteouts do not count:
	// where one lies below a file, unpackers leave the file or refuse the layer.
	directories map[uint64]bool
}

func newPart(seed maphash.Seed) *part {
	return &part{
		links: map[string]Entry{}, wanted: map[string]bool{},
		seed: seed, kinds: map[uint64]Kind{}, gone: map[uint64]bool{}, opaque: map[uint64]bool{},
		directories: map[uint64]bool{},
	}
}

// Marks of the OCI image format, "Whiteouts"; they come from AUFS.
const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
	auxiliary      = ".wh..wh." // other AUFS bookkeeping
)

// whiteout notes a mark and reports whether name is one.
func (p *part) whiteout(name string) bool {
	dir, base := path.Split(name)
	switch {
	case base == opaqueMark:
		p.opaque[p.hash(path.Clean(dir))] = true
	case strings.HasPrefix(base, auxiliary):
	case strings.HasPrefix(base, whiteoutPrefix):
		// Names that lead out of the directory remove nothing: containerd
		// refuses them.
		if removed := base[len(whiteoutPrefix):]; removed != "" && removed != "." && removed != ".." {
			p.gone[p.hash(path.Join(dir, removed))] = true
		}
	default:
		return false
	}
	return true
}

// add notes an entry; the last of a path stands.
func (p *part) add(name string, e Entry, wanted bool) {
	delete(p.links, name)
	delete(p.wanted, name)
	switch e.Kind {
	case HardLink, Symlink:
		p.links[name] = e
	case Regular:
		if wanted {
			p.wanted[name] = true
		}
	case Directory, Other:
	}
	p.kinds[p.hash(name)] = e.Kind
}

func (p *part) hash(name string) uint64 { return maphash.String(p.seed, name) }

// entry returns what the part itself has at a path.
func (p *part) entry(name string) (Entry, bool) {
	if e, ok := p.links[name]; ok {
		return e, true
	}
	kind, ok := p.kinds[p.hash(name)]
	return Entry{Kind: kind}, ok
}

// hides reports whether the part keeps what lies below it at a path from being
// seen.
func (p *part) hides(name string) bool {
	if p.gone[p.hash(name)] {
		return true
	}
	for parent := path.Dir(name); ; parent = path.Dir(parent) {
		if p.covers(parent) {
			return true
		}
		if parent == "/" {
			return false
		}
	}
}

// covers reports whether the part keeps what lies below it in a directory from
// being seen.
func (p *part) covers(directory string) bool {
	h := p.hash(directory)
	if p.gone[h] || p.opaque[h] {
		return true
	}
	e, ok := p.entry(directory)
	return ok && e.Kind != Directory && directory != "/"
}

// HasFile reports whether a regular file at that path is among what the layer
// brings.
func (l *Layer) HasFile(name string) bool {
	for _, p := range l.parts {
		if e, ok := p.entry(name); ok && e.Kind == Regular {
			return true
		}
	}
	return false
}

// Bytes returns about how much memory the layer takes.
func (l *Layer) Bytes() int64 {
	const perHash, perName = 24, 96 // of a map's element with its share of the empty ones
	n := int64(0)
	for _, p := range l.parts {
		n += int64(perHash * (len(p.kinds) + len(p.gone) + len(p.opaque) + len(p.directories)))
		for name, e := range p.links {
			n += int64(perName + len(name) + len(e.Link))
		}
		for name := range p.wanted {
			n += int64(perName + len(name))
		}
	}
	return n
}

// Clean returns the absolute, clean form of a path in a layer. What climbs out
// of the root stays at the root, as it does for an unpacker that is confined to
// it.
func Clean(name string) string { return path.Clean("/" + name) }
