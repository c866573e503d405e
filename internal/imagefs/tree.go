package imagefs

import (
	"path"
	"strings"
)

const (
	// maxLinks bounds the symbolic links of one path, as in Linux (path_resolution(7)).
	maxLinks = 40
	// maxSteps bounds the elements of one path, including those of links. Each
	// costs a look-up in every layer.
	maxSteps = 1024
)

// Tree is the merged file system of a stack of layers.
type Tree struct {
	parts []*part // of all layers, the lowest first
	of    []int   // the layer of each part
	first []int   // the first part of each layer
}

// NewTree stacks layers, the lowest first.
func NewTree(layers []*Layer) Tree {
	var t Tree
	for i, l := range layers {
		t.first = append(t.first, len(t.parts))
		for _, p := range l.parts {
			t.parts, t.of = append(t.parts, p), append(t.of, i)
		}
	}
	return t
}

// File is a regular file of a tree.
type File struct {
	// Path is its path without symbolic links.
	Path string
	// Layer is the index of the layer with its content, Source the content within
	// that layer. For a hard link, Source.Path differs from Path.
	Layer  int
	Source Source
}

// Lookup resolves a path to a regular file: through symbolic links, absolute
// and relative, in its parents and at its end.
func (t Tree) Lookup(name string) (File, bool) {
	resolved, layer, e, ok := t.resolve(name)
	// A layer may write a file below a path that is a symbolic link in a lower
	// layer. Unpackers differ on whether the file lands behind the link or replaces
	// it, but in both cases the path leads to the file.
	written, direct, there := t.visible(Clean(name), len(t.parts))
	if there && (!ok || written > layer) {
		if _, _, original, found := t.original(Clean(name), written, direct); found && original.Kind == Regular {
			resolved, layer, e, ok = Clean(name), written, direct, true
		}
	}
	if !ok {
		return File{}, false
	}
	source, part, e, ok := t.original(resolved, layer, e)
	if !ok || e.Kind != Regular {
		return File{}, false
	}
	of := t.of[part]
	return File{Path: resolved, Layer: of, Source: Source{part - t.first[of], source}}, true
}

// Proven is Lookup for a tree whose lowest layers are missing. It finds only
// files that those cannot change: reached without links, with every parent
// directory in the layers at hand.
func (t Tree) Proven(name string) (File, bool) {
	f, ok := t.Lookup(name)
	if !ok || f.Path != Clean(name) || f.Source.Path != f.Path {
		return File{}, false
	}
	for at := path.Dir(f.Path); at != "/"; at = path.Dir(at) {
		if _, e, ok := t.visible(at, len(t.parts)); !ok || e.Kind != Directory {
			return File{}, false
		}
	}
	return f, true
}

// original returns the target of a hard link: the entry in its own layer or
// below at the time of the link. Any other entry is its own target.
func (t Tree) original(name string, at int, e Entry) (string, int, Entry, bool) {
	for range maxLinks {
		if e.Kind != HardLink {
			return name, at, e, true
		}
		name = e.Link
		var ok bool
		if at, e, ok = t.linked(name, at); !ok {
			break
		}
	}
	return "", 0, Entry{}, false
}

// linked returns the entry at a path as the hard links of a part mean it: in that
// part, else below, else in higher parts of the layer, since a hard link may
// precede its target.
func (t Tree) linked(name string, at int) (int, Entry, bool) {
	if e, ok := t.parts[at].entry(name); ok {
		return at, e, true
	}
	if below, e, ok := t.visible(name, at); ok {
		return below, e, true
	}
	for i := at + 1; i < len(t.parts) && t.of[i] == t.of[at]; i++ {
		if e, ok := t.parts[i].entry(name); ok {
			return i, e, true
		}
	}
	return 0, Entry{}, false
}

// visible returns the entry at a path as the parts below an index show it. It
// takes the path's parents for directories.
func (t Tree) visible(name string, below int) (int, Entry, bool) {
	return t.highest(name, 0, below, (*part).hides)
}

// highest returns the highest entry at a path in the parts from floor to below,
// exclusive, down to the first part that hides it.
func (t Tree) highest(name string, floor, below int, hides func(*part, string) bool) (int, Entry, bool) {
	entered := false // by content under the path
	for i := below - 1; i >= floor; i-- {
		p := t.parts[i]
		if e, ok := p.entry(name); ok {
			// A directory replaced it, unless it is a symbolic link, which may have
			// been written through.
			if entered && e.Kind != Symlink {
				e = Entry{Kind: Directory}
			}
			return i, e, true
		}
		if hides(p, name) {
			break
		}
		entered = entered || p.directories[p.hash(name)]
	}
	return 0, Entry{}, false
}

// resolve walks a path from the root as the kernel does.
func (t Tree) resolve(name string) (resolved string, layer int, e Entry, ok bool) {
	links, steps := 0, 0
	at := "/"
	floors := []int{t.floor(at, 0)} // of the directories from the root to the current one
	rest := strings.Split(strings.TrimPrefix(Clean(name), "/"), "/")
	for len(rest) > 0 {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			at, floors = path.Dir(at), floors[:max(1, len(floors)-1)]
			continue
		}
		if steps++; steps > maxSteps {
			return "", 0, Entry{}, false
		}
		next, floor := path.Join(at, element), floors[len(floors)-1]
		var in int
		in, e, ok = t.highest(next, floor, len(t.parts), (*part).removes)
		if ok && e.Kind == HardLink {
			if _, _, original, found := t.original(next, in, e); found && original.Kind == Symlink {
				e = original // another name of a symbolic link
			}
		}
		switch {
		case !ok && len(rest) == 0:
			return "", 0, Entry{}, false
		case ok && e.Kind == Symlink:
			if links++; links > maxLinks {
				return "", 0, Entry{}, false
			}
			if path.IsAbs(e.Link) {
				at, floors = "/", floors[:1]
			}
			// The target is walked, not cleaned: ".." after a link is the parent
			// of the link's target.
			rest = append(strings.Split(e.Link, "/"), rest...)
		default:
			// A layer need not list the directories of its files.
			at, floors = next, append(floors, t.floor(next, floor))
		}
	}
	layer, e, ok = t.visible(at, len(t.parts))
	return at, layer, e, ok
}

// floor returns the lowest part whose content is visible in a directory. parent
// is the floor of its parent directory.
func (t Tree) floor(name string, parent int) int {
	for i := len(t.parts) - 1; i > parent; i-- {
		if t.parts[i].hidesContent(name) {
			return i
		}
	}
	return parent
}

// HardLinks returns the paths of hard links, visible or not, by target.
func (t Tree) HardLinks() map[string][]string {
	links := map[string][]string{}
	for _, p := range t.parts {
		for name, e := range p.links {
			if e.Kind == HardLink {
				links[e.Link] = append(links[e.Link], name)
			}
		}
	}
	return links
}

// Named returns the paths of selected files and of links whose last element
// matches. They need not be visible.
func (t Tree) Named(match func(base string) bool) []string {
	seen := map[string]bool{}
	var names []string
	add := func(name string) {
		if !seen[name] && match(path.Base(name)) {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, p := range t.parts {
		for name := range p.wanted {
			add(name)
		}
		for name := range p.links {
			add(name)
		}
	}
	return names
}
