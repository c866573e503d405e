package imagefs

import (
	"hash/maphash"
	"path"
	"slices"
)

// Kind is the type of an entry.
type Kind uint8

// Types of entries.
const (
	Regular Kind = iota + 1
	Directory
	Symlink
	HardLink
	Other // devices, FIFOs
)

// Entry is one path of a layer.
type Entry struct {
	Kind Kind
	// Link is the target of a symbolic link, as written, or the clean path of the
	// target of a hard link.
	Link string
}

// Source identifies a file's content within its layer. Path is absolute, clean
// and slash-separated.
type Source struct {
	// Part is the number of times that the layer undid its own entries before this
	// file: 0 in all but odd layers.
	Part int
	Path string
}

// Layer is one layer's changes to the file system. It is immutable.
type Layer struct {
	// parts are stacked like layers, the lowest first. Within a part, entries of
	// one path replace each other and no other entry is undone. The lowest part
	// holds the whiteouts, which apply below the layer.
	parts []*part
}

// part is a run of a layer's entries.
type part struct {
	links  map[string]Entry // symbolic and hard
	wanted map[string]bool  // the selected regular files and links

	// Sets of paths, by hash: a layer may have a million.
	kinds   map[uint64]Kind // of every entry
	removed map[uint64]bool // by a whiteout
	opaque  map[uint64]bool // directories whose lower content is removed
	// directories are those with content, listed or not. Whiteouts do not count:
	// for one below a file, unpackers keep the file or refuse the layer.
	directories map[uint64]bool
}

func newPart() *part {
	return &part{
		links: map[string]Entry{}, wanted: map[string]bool{},
		kinds: map[uint64]Kind{}, removed: map[uint64]bool{}, opaque: map[uint64]bool{},
		directories: map[uint64]bool{},
	}
}

// add records an entry. It replaces an earlier one of the same path.
func (p *part) add(name string, e Entry, wanted bool) {
	delete(p.links, name)
	delete(p.wanted, name)
	if e.Kind == HardLink || e.Kind == Symlink {
		p.links[name] = e
	}
	if wanted {
		p.wanted[name] = true
	}
	p.kinds[hashOf(name)] = e.Kind
}

// hashSeed is unknown outside the process: no image can aim at a collision.
var hashSeed = maphash.MakeSeed()

func hashOf(name string) uint64 { return maphash.String(hashSeed, name) }

// entry returns the part's own entry at a path of hash h.
func (p *part) entry(name string, h uint64) (Entry, bool) {
	kind, ok := p.kinds[h]
	if kind == Symlink || kind == HardLink {
		return p.links[name], true
	}
	return Entry{Kind: kind}, ok
}

// HasFile reports whether the layer contains a regular file at a path.
func (l *Layer) HasFile(name string) bool {
	h := hashOf(name)
	return slices.ContainsFunc(l.parts, func(p *part) bool { return p.kinds[h] == Regular })
}

// Approximate memory, in bytes: of a part, and of an element of its maps by hash
// and by name, with its share of empty slots.
const partMemory, hashMemory, nameMemory = 1 << 10, 28, 96

// Bytes returns the approximate memory of the layer, in bytes.
func (l *Layer) Bytes() int64 {
	n := int64(0)
	for _, p := range l.parts {
		n += partMemory + int64(hashMemory*(len(p.kinds)+len(p.removed)+len(p.opaque)+len(p.directories)))
		for name, e := range p.links {
			n += int64(nameMemory + len(name) + len(e.Link))
		}
		for name := range p.wanted {
			n += int64(nameMemory + len(name))
		}
	}
	return n
}

// Clean returns the absolute, clean form of a path in a layer. ".." at the root
// stays there, as for an unpacker confined to the root.
func Clean(name string) string { return path.Clean("/" + name) }
