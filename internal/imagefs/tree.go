package imagefs

import (
	"path"
	"strings"
)

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

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
	if !ok {
		// A layer may have written a file below a path that is a symbolic link
		// further down. Where unpackers differ on what that means, the file
		// counts as there.
		if layer, e, ok = t.visible(Clean(name), len(t.layers)); !ok {
			return File{}, false
		}
		resolved = Clean(name)
	}
	return t.content(resolved, resolved, layer, e, 0)
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
	links := 0
	at := "/"
	rest := strings.Split(strings.TrimPrefix(Clean(name), "/"), "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		_, e, ok = t.visible(next, len(t.layers))
		switch {
		case !ok && len(rest) == 0:
			return "", 0, Entry{}, false
		case ok && e.Kind == Symlink:
			if links++; links > maxLinks {
				return "", 0, Entry{}, false
			}
			if path.IsAbs(e.Link) {
				at = "/"
			}
			// The target is walked, not cleaned: ".." behind a link means the
			// parent of where the link leads.
			rest = append(strings.Split(e.Link, "/"), rest...)
			if len(rest) > maxParts {
				return "", 0, Entry{}, false
			}
		default:
			// A layer need not list a directory to have files in it.
			at = next
		}
	}
	layer, e, ok = t.visible(at, len(t.layers))
	return at, layer, e, ok
}

// maxParts bounds the parts of a path under way; links may add to them.
const maxParts = 1 << 14

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
