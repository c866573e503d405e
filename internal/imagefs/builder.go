package imagefs

import (
	"fmt"
	"hash/maphash"
	"path"
)

// maxParts is how often one layer may take back what it has itself written.
// Builders do it never or once; each time costs look-ups.
const maxParts = 16

// builder makes a layer of its entries, in their order.
type builder struct {
	parts []*part
	seed  maphash.Seed
	// linked is what a hard link of the part that is being filled names, by hash of
	// the path.
	linked map[uint64]bool
	// last is the directory of the last entry: the next is mostly in it too.
	last string
}

func newBuilder() *builder {
	b := &builder{seed: maphash.MakeSeed()}
	b.begin()
	return b
}

// begin starts a part on top of the others.
func (b *builder) begin() {
	b.parts = append(b.parts, newPart(b.seed))
	b.linked, b.last = map[uint64]bool{}, ""
}

func (b *builder) top() *part { return b.parts[len(b.parts)-1] }

// add notes an entry, in a part of its own where it undoes what the layer has
// done: puts something in the place of a directory with all that is in it, or a
// directory in the place of something else, or new content where a hard link
// keeps the old.
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

// enter notes that there is something in a directory, which the layer need not
// list. What it has in the directory's place gives way, but for symbolic links:
// they are written through.
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
		if in, kind := b.shown(h); kind != 0 && kind != Directory && kind != Symlink {
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

// shown returns the part that last had a path, and what it is there; 0: none had.
func (b *builder) shown(h uint64) (int, Kind) {
	for i := len(b.parts) - 1; i >= 0; i-- {
		if kind, ok := b.parts[i].kinds[h]; ok {
			return i, kind
		}
	}
	return 0, 0
}

func (b *builder) layer() *Layer { return &Layer{parts: b.parts} }
