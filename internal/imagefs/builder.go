package imagefs

import (
	"fmt"
	"path"
)

// maxParts bounds how often one layer may undo its own entries. Builders do it
// never or once; each part slows look-ups.
const maxParts = 16

// builder assembles a layer from its entries, in their order, within limits.
type builder struct {
	limits    Limits
	wanted    func(path string) bool
	entries   int
	files     int
	linkBytes int64
	bytes     int64 // the memory of all paths and links, at most

	parts []*part
	// linked are the targets of the top part's hard links, by hash of the path.
	linked map[uint64]bool
	// last is the directory of the last entry: the next is mostly there too.
	last string
}

func newBuilder(limits Limits, wanted func(path string) bool) *builder {
	b := &builder{limits: limits.WithDefaults(), wanted: wanted}
	b.begin()
	return b
}

// begin starts a new top part.
func (b *builder) begin() {
	b.parts = append(b.parts, newPart())
	b.linked, b.last = map[uint64]bool{}, ""
}

func (b *builder) top() *part { return b.parts[len(b.parts)-1] }

// count counts an entry against its limit.
func (b *builder) count() error {
	if b.entries++; b.entries > b.limits.Entries {
		return fmt.Errorf("%w: the layer has more than %d entries", ErrTooLarge, b.limits.Entries)
	}
	return b.remember(hashMemory)
}

// remember counts memory against its limit.
func (b *builder) remember(bytes int) error {
	if b.bytes += int64(bytes); b.bytes > b.limits.Memory {
		return fmt.Errorf("%w: the layer's paths and links take more than %d bytes of memory", ErrTooLarge, b.limits.Memory)
	}
	return nil
}

// disposition is the handling of an entry.
type disposition int

const (
	whiteout disposition = iota // not an entry of the layer itself
	skip
	keep // a selected file, or a link
)

// entry records an entry under its name as written. It returns the entry's
// source and disposition.
func (b *builder) entry(written, link string, kind Kind) (Source, disposition, error) {
	if err := b.count(); err != nil {
		return Source{}, 0, err
	}
	if len(written) > b.limits.NameBytes || len(link) > b.limits.NameBytes {
		return Source{}, 0, fmt.Errorf("%w: the layer has a name of more than %d bytes", ErrTooLarge, b.limits.NameBytes)
	}
	name := Clean(written)
	if b.parts[0].addWhiteout(name) {
		return Source{}, whiteout, nil
	}
	if kind == Symlink || kind == HardLink {
		if b.linkBytes += int64(len(name) + len(link)); b.linkBytes > b.limits.LinkBytes {
			return Source{}, 0, fmt.Errorf("%w: the layer's links have more than %d bytes", ErrTooLarge, b.limits.LinkBytes)
		}
		if err := b.remember(nameMemory + len(name) + len(link)); err != nil {
			return Source{}, 0, err
		}
	}
	d := skip
	if kind != Directory && kind != Other && b.wanted != nil && b.wanted(name) {
		d = keep
	}
	if err := b.add(name, Entry{Kind: kind, Link: link}, d == keep); err != nil {
		return Source{}, 0, err
	}
	if d == keep {
		// Repeated entries of one path all count.
		if b.files++; b.files > b.limits.Files {
			return Source{}, 0, fmt.Errorf("%w: the layer has more than %d files of interest", ErrTooLarge, b.limits.Files)
		}
		if err := b.remember(nameMemory + len(name)); err != nil {
			return Source{}, 0, err
		}
	}
	return Source{len(b.parts) - 1, name}, d, nil
}

// add records an entry. It starts a new part if the entry undoes earlier ones:
// replaces a directory with its content, replaces another entry by a directory,
// or replaces content that a hard link keeps.
func (b *builder) add(name string, e Entry, wanted bool) error {
	if e.Kind == HardLink {
		e.Link = Clean(e.Link)
	}
	h := hashOf(name)
	before, known := b.top().kinds[h]
	if e.Kind != Directory && b.top().directories[h] || known && (e.Kind == Directory) != (before == Directory) || b.linked[h] {
		b.begin()
	}
	if err := b.enter(path.Dir(name)); err != nil {
		return err
	}
	if e.Kind == HardLink {
		b.linked[hashOf(e.Link)] = true
	}
	b.top().add(name, e, wanted)
	if len(b.parts) > maxParts {
		return fmt.Errorf("%w: the layer takes back what it has written more than %d times", ErrTooLarge, maxParts)
	}
	return nil
}

// enter records that a directory has content; the layer need not list it. Each
// new one counts as an entry: one long path may imply thousands. An
// entry of another kind in its place gives way, except a symbolic link, which is
// written through.
func (b *builder) enter(directory string) error {
	if directory == b.last {
		return nil
	}
	b.last = directory
	for at := directory; at != "/"; at = parent(at) {
		h := hashOf(at)
		if b.top().directories[h] {
			return nil
		}
		if err := b.count(); err != nil {
			return err
		}
		if in, kind := b.latest(h); kind != 0 && kind != Directory && kind != Symlink {
			if in == len(b.parts)-1 {
				b.begin()
			}
			b.top().add(at, Entry{Kind: Directory}, false)
			b.last = ""
			return b.enter(directory)
		}
		b.top().directories[h] = true
	}
	return nil
}

// latest returns the highest part with an entry at a path, and its kind; kind 0
// means no part.
func (b *builder) latest(h uint64) (int, Kind) {
	for i := len(b.parts) - 1; i >= 0; i-- {
		if kind, ok := b.parts[i].kinds[h]; ok {
			return i, kind
		}
	}
	return 0, 0
}
