package imagefs

import (
	"path"
	"strings"
)

const (
	// maxLinks is how many symbolic links one path may lead through, as in Linux.
	maxLinks = 40
	// maxSteps is how many parts, its own and those of links, one path may lead
	// through. Each costs a look into every layer.
	maxSteps = 1024
)

// Tree is the file system that layers make together.
type Tree struct {
	layers []*Layer // the lowest first
}

// NewTree puts layers on top of each other, the lowest first.
func NewTree(layers []*Layer) Tree { return Tree{layers} }

// File is a regular file of a tree.
type File struct {
	// Path is its path without symbolic links.
	Path string
	// Layer is the index of the layer that holds its content, Source the path
	// that it has there; it differs from Path for a hard link.
	Layer  int
	Source string
}

// Lookup resolves a path to a regular file: through symbolic links, absolute
// and relative, in its parents and at its end.
func (t Tree) Lookup(name string) (File, bool) {
	resolved, layer, e, ok := t.resolve(name)
	// A layer may have written a file below a path that is a symbolic link
	// further down. Unpackers differ on whether it lands behind the link or in
	// the link's place, but not on what the path then leads to.
	written, direct, there := t.visible(Clean(name), len(t.layers))
	if there && (!ok || written > layer && (direct.Kind == Regular || direct.Kind == HardLink)) {
		resolved, layer, e, ok = Clean(name), written, direct, true
	}
	if !ok {
		return File{}, false
	}
	return t.content(resolved, resolved, layer, e, 0)
}

// Proven is Lookup for a tree whose lowest layers are missing. It finds only what
// they cannot change: a file that no link leads to, in directories all of which
// the layers that are there have themselves.
func (t Tree) Proven(name string) (File, bool) {
	f, ok := t.Lookup(name)
	if !ok || f.Path != Clean(name) || f.Source != f.Path {
		return File{}, false
	}
	for at := path.Dir(f.Path); at != "/"; at = path.Dir(at) {
		if _, e, ok := t.visible(at, len(t.layers)); !ok || e.Kind != Directory {
			return File{}, false
		}
	}
	return f, true
}

// content finds where a file's bytes lie: a hard link's are those of the path
// that it names, in its own layer or below.
func (t Tree) content(as, name string, layer int, e Entry, depth int) (File, bool) {
	switch {
	case e.Kind == Regular:
		return File{Path: as, Layer: layer, Source: name}, true
	case e.Kind != HardLink || depth > maxLinks || e.Link == name:
		return File{}, false
	}
	if target, ok := t.layers[layer].entry(e.Link); ok {
		return t.content(as, e.Link, layer, target, depth+1)
	}
	below, target, ok := t.visible(e.Link, layer)
	if !ok {
		return File{}, false
	}
	return t.content(as, e.Link, below, target, depth+1)
}

// visible returns what layers below the given index show at a path, whose
// parents are taken to be directories.
func (t Tree) visible(name string, below int) (int, Entry, bool) {
	for i := below - 1; i >= 0; i-- {
		if e, ok := t.layers[i].entry(name); ok {
			return i, e, true
		}
		if t.layers[i].hides(name) {
			break
		}
	}
	return 0, Entry{}, false
}

// resolve walks a path from the root as the kernel does.
func (t Tree) resolve(name string) (resolved string, layer int, e Entry, ok bool) {
	links, steps := 0, 0
	at := "/"
	root := t.floor(at, 0)
	floors := []int{root} // of the directories from the root to where the walk is
	rest := strings.Split(strings.TrimPrefix(Clean(name), "/"), "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at, floors = path.Dir(at), floors[:max(1, len(floors)-1)]
			continue
		}
		if steps++; steps > maxSteps {
			return "", 0, Entry{}, false
		}
		next, floor := path.Join(at, part), floors[len(floors)-1]
		_, e, ok = t.shown(next, floor)
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
			// The target is walked, not cleaned: ".." behind a link means the
			// parent of where the link leads.
			rest = append(strings.Split(e.Link, "/"), rest...)
		default:
			// A layer need not list a directory to have files in it.
			at, floors = next, append(floors, t.floor(next, floor))
		}
	}
	layer, e, ok = t.visible(at, len(t.layers))
	return at, layer, e, ok
}

// shown returns what is at a path whose directory shows the layers from floor
// upwards.
func (t Tree) shown(name string, floor int) (int, Entry, bool) {
	for i := len(t.layers) - 1; i >= floor; i-- {
		if e, ok := t.layers[i].entry(name); ok {
			return i, e, true
		}
		if l := t.layers[i]; l.gone[l.hash(name)] {
			break
		}
	}
	return 0, Entry{}, false
}

// floor returns the lowest layer whose content shows in a directory, given that
// of the directory that it lies in.
func (t Tree) floor(name string, parent int) int {
	for i := len(t.layers) - 1; i > parent; i-- {
		if t.layers[i].covers(name) {
			return i
		}
	}
	return parent
}

// Named returns the paths, of files and links alike, whose last element matches.
// They need not be visible.
func (t Tree) Named(match func(base string) bool) []string {
	seen := map[string]bool{}
	var names []string
	add := func(name string) {
		if !seen[name] && match(path.Base(name)) {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, l := range t.layers {
		for name := range l.Wanted {
			add(name)
		}
		for name := range l.Links {
			add(name)
		}
	}
	return names
}
