package imagefs

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// maxLinks bounds the symbolic links of one path, as in Linux (path_resolution(7)).
const maxLinks = 40

// Tree is the merged file system of a stack of layers. It remembers what it
// resolved, and is not safe for concurrent use.
type Tree struct {
	parts []*part // of all layers, the lowest first
	of    []int   // the layer of each part
	first []int   // the first part of each layer

	steps *Steps
	root  *node
}

// node is a path without links that was looked up. Its element is a key of its
// parent's children: a walk over known nodes does not depend on the path's length.
type node struct {
	parent   *node // nil for the root
	element  string
	children map[string]*node
	entry    located
	floor    int // the lowest part whose content is visible in it; unknown if negative
}

func (n *node) path() string {
	if n.parent == nil {
		return "/"
	}
	size := 0
	for at := n; at.parent != nil; at = at.parent {
		size += 1 + len(at.element)
	}
	text := make([]byte, size)
	for at := n; at.parent != nil; at = at.parent {
		size -= len(at.element)
		copy(text[size:], at.element)
		size--
		text[size] = '/'
	}
	return string(text)
}

// located is an entry and its part. The zero value is no entry.
type located struct {
	Entry
	part int
}

func (l located) exists() bool { return l.Kind != 0 }

// NewTree stacks layers, the lowest first. Look-ups take steps from the budget,
// and find no file once it is used up.
func NewTree(layers []*Layer, steps *Steps) Tree {
	t := Tree{steps: steps, root: &node{}}
	for i, l := range layers {
		t.first = append(t.first, len(t.parts))
		for _, p := range l.parts {
			t.parts, t.of = append(t.parts, p), append(t.of, i)
		}
	}
	t.root.floor = t.floor("/", 0, len(t.parts))
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
	f, _ := t.lookup(Clean(name))
	return f, f.Path != ""
}

// lookup is Lookup for a clean path. It returns the file's node, too.
func (t Tree) lookup(name string) (File, *node) {
	n := t.resolve(name)
	// A layer may write a file below a path that is a symbolic link in a lower
	// layer. Unpackers differ on whether the file lands behind the link or replaces
	// it, but in both cases the path leads to the file.
	written := t.root
	for element := range strings.SplitSeq(name[1:], "/") {
		written = t.child(written, element)
	}
	if written != nil && written.entry.exists() && (n == nil || !n.entry.exists() || written.entry.part > n.entry.part) {
		if _, original := t.original(written); original.Kind == Regular {
			n = written
		}
	}
	if n == nil || t.steps.spent {
		return File{}, nil
	}
	source, e := t.original(n)
	if e.Kind != Regular || t.steps.spent {
		return File{}, nil
	}
	of := t.of[e.part]
	return File{Path: n.path(), Layer: of, Source: Source{e.part - t.first[of], source}}, n
}

// Proven is Lookup for a tree whose lowest layers are missing. It finds only
// files that those cannot change: reached without links, with every parent
// directory in the layers at hand.
func (t Tree) Proven(name string) (File, bool) {
	f, n := t.lookup(Clean(name))
	if n == nil || f.Path != Clean(name) || f.Source.Path != f.Path {
		return File{}, false
	}
	for at := n.parent; at.parent != nil; at = at.parent {
		if at.entry.Kind != Directory {
			return File{}, false
		}
	}
	return f, true
}

// original returns the target of a hard link, and its path: the entry in its own
// layer or below at the time of the link. Any other entry is its own target.
func (t Tree) original(n *node) (string, located) {
	if n.entry.Kind != HardLink {
		return n.path(), n.entry
	}
	e := n.entry
	for range maxHardLinks {
		name := e.Link
		if e = t.linked(name, e.part); e.Kind != HardLink {
			return name, e
		}
	}
	t.steps.loop = true
	return "", located{}
}

// linked returns the entry at a path as the hard links of a part mean it: in that
// part, else below, else in higher parts of the layer, since a hard link may
// precede its target.
func (t Tree) linked(name string, at int) located {
	if !t.steps.take(1 + len(name)/stepBytes) {
		return located{}
	}
	h := hashOf(name)
	if e, ok := t.parts[at].entry(name, h); ok {
		return located{e, at}
	}
	if below := t.below(name, at); below.exists() {
		return below
	}
	for i := at + 1; i < len(t.parts) && t.of[i] == t.of[at] && t.steps.take(1); i++ {
		if e, ok := t.parts[i].entry(name, h); ok {
			return located{e, i}
		}
	}
	return located{}
}

// below returns the entry at a path as the parts below an index show it. It
// takes the path's parents for directories.
func (t Tree) below(name string, end int) located {
	floor := 0
	for i := range name {
		if name[i] == '/' {
			floor = t.floor(name[:max(1, i)], floor, end)
		}
	}
	return t.highest(name, floor, end)
}

// child returns the node of an element of a directory, with the entry there as all
// parts show it, whether or not the directory itself exists. It returns nil for
// want of steps.
func (t Tree) child(directory *node, element string) *node {
	if directory == nil || !t.steps.take(1) {
		return nil
	}
	if n, ok := directory.children[element]; ok {
		return n
	}
	at := directory.path()
	if directory.floor < 0 {
		directory.floor = t.floor(at, directory.parent.floor, len(t.parts))
	}
	name := path.Join(at, element)
	if !t.steps.take(nodeSteps + len(name)/stepBytes) {
		return nil
	}
	n := &node{parent: directory, element: element, entry: t.highest(name, directory.floor, len(t.parts)), floor: -1}
	if directory.children == nil {
		directory.children = map[string]*node{}
	}
	directory.children[element] = n
	return n
}

// highest returns the highest entry at a path in the parts from floor to end,
// exclusive, down to the first part with a whiteout for it.
func (t Tree) highest(name string, floor, end int) located {
	h := hashOf(name)
	entered := false // by content under the path
	for i := end - 1; i >= floor && t.steps.take(1); i-- {
		p := t.parts[i]
		if e, ok := p.entry(name, h); ok {
			// A directory replaced it, unless it is a symbolic link, which may have
			// been written through.
			if entered && e.Kind != Symlink {
				e = Entry{Kind: Directory}
			}
			return located{e, i}
		}
		if p.removed[h] {
			break
		}
		entered = entered || p.directories[h]
	}
	return located{}
}

// floor returns the lowest of the parts below end whose content is visible in a
// directory. lowest is the floor of its parent directory.
func (t Tree) floor(directory string, lowest, end int) int {
	if !t.steps.take(1 + len(directory)/stepBytes) {
		return lowest
	}
	h := hashOf(directory)
	for i := end - 1; i > lowest && t.steps.take(1); i-- {
		if t.parts[i].hidesContent(directory, h) {
			return i
		}
	}
	return lowest
}

// resolve walks a path from the root as the kernel does, and returns the node that
// it leads to. It returns nil after too many links, or for want of steps.
func (t Tree) resolve(name string) *node {
	links, at := 0, t.root
	for rest := []string{name}; len(rest) > 0; { // the texts left to walk, the next one last
		element, tail, more := strings.Cut(rest[len(rest)-1], "/")
		if rest[len(rest)-1] = tail; !more {
			rest = rest[:len(rest)-1]
		}
		switch element {
		case "", ".", "..":
			if !t.steps.take(1) {
				return nil
			}
			if element == ".." && at.parent != nil {
				at = at.parent
			}
			continue
		}
		n := t.child(at, element)
		if n == nil {
			return nil
		}
		e := n.entry
		if e.Kind == HardLink {
			if _, original := t.original(n); original.Kind == Symlink {
				e = original // another name of a symbolic link
			}
		}
		if e.Kind != Symlink {
			at = n // a layer need not list the directories of its files
			continue
		}
		if links++; links > maxLinks {
			return nil
		}
		if path.IsAbs(e.Link) {
			at = t.root
		}
		// The target is walked, not cleaned: ".." after a link is the parent
		// of the link's target.
		rest = append(rest, e.Link)
	}
	return at
}

// parent returns the directory of a clean, absolute path.
func parent(name string) string { return name[:max(1, strings.LastIndexByte(name, '/'))] }

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

// Named returns the paths of selected files, and those of selected links, whose
// last element matches, each in order. They need not be visible.
func (t Tree) Named(match func(base string) bool) (files, links []string) {
	isFile, isLink := map[string]bool{}, map[string]bool{}
	for _, p := range t.parts {
		for name := range p.wanted {
			if !match(path.Base(name)) {
				continue
			}
			if _, ok := p.links[name]; ok {
				isLink[name] = true
			} else {
				isFile[name] = true
			}
		}
	}
	maps.DeleteFunc(isLink, func(name string, _ bool) bool { return isFile[name] })
	return slices.Sorted(maps.Keys(isFile)), slices.Sorted(maps.Keys(isLink))
}
