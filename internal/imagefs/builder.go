package imagefs

import (
	"fmt"
	"hash/maphash"
	"path"
)

// maxParts bounds how often one layer may undo its own entries. Builders do it
// never or once; each part slows look-ups.
const maxParts = 16

// builder assembles a layer from its entries, in their order.
type builder struct {
	parts []*part
	seed  maphash.Seed
	// linked are the targets of the top part's hard links, by hash of the path.
	linked map[uint64]bool
	// last is the directory of the last entry: the next is mostly there too.
	last string
}

func newBuilder() *builder {
	b := &builder{seed: maphash.MakeSeed()}
	b.begin()
	return b
}

// begin starts a new top part.
func (b *builder) begin() {
	b.parts = append(b.parts, newPart(b.seed))
	b.linked, b.last = map[uint64]bool{}, ""
}

func (b *builder) top() *part { return b.parts[len(b.parts)-1] }

// add records an entry. It starts a new part if the entry undoes earlier ones:
// replaces a directory with its content, replaces another entry by a directory,
// or replaces content that a hard link keeps.
func (b *builder) add(name string, e Entry, wanted bool) error {
	if e.Kind == HardLink {
		e.Link = Clean(e.Link)
	}
	h := b.top().hash(name)
	before, known := b.top().kinds[h]
	if e.Kind != Directory && b.top().directories[h] || known && (e.Kind == Directory) != (before == Directory) || b.linked[h] {
		b.begin()
	}
	b.enter(path.Dir(name))
	if e.Kind == HardLink {
		b.linked[b.top().hash(e.Link)] = true
	}
	b.top().add(name, e, wanted)
	if len(b.parts) > maxParts {
		return fmt.Errorf("%w: the layer takes back what it has written more than %d times", ErrTooLarge, maxParts)
	}
	return nil
}

// enter records that a directory has content; the layer need not list it. An
// entry of another kind in its place gives way, except a symbolic link, which is
// written through.
func (b *builder) enter(directory string) {
	if directory == b.last {
		return
	}
	b.last = directory
	for at := directory; at != "/"; at = path.Dir(at) {
		h := b.top().hash(at)
		if b.top().directories[h] {
			return
		}
		if in, kind := b.latest(h); kind != 0 && kind != Directory && kind != Symlink {
			if in == len(b.parts)-1 {
				b.begin()
			}
			b.top().add(at, Entry{Kind: Directory}, false)
			b.last = ""
			b.enter(directory)
			return
		}
		b.top().directories[h] = true
	}
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

func (b *builder) layer() *Layer { return &Layer{parts: b.parts} }
