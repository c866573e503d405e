package imagefs

import "fmt"

// collector makes a layer of its entries within the limits.
type collector struct {
	*builder
	limits    Limits
	wanted    func(path string) bool
	entries   int
	files     int
	linkBytes int64
}

func newCollector(limits Limits, wanted func(path string) bool) *collector {
	return &collector{builder: newBuilder(), limits: limits.WithDefaults(), wanted: wanted}
}

// count counts an entry.
func (c *collector) count() error {
	if c.entries++; c.entries > c.limits.Entries {
		return fmt.Errorf("%w: the layer has more than %d entries", ErrTooLarge, c.limits.Entries)
	}
	return nil
}

// use is what an entry is to who reads the layer.
type use int

const (
	mark use = iota // a whiteout
	uninteresting
	interesting // a file or a link that was asked for
)

// entry notes an entry under its name as the layer writes it. It returns where
// it is found again.
func (c *collector) entry(written, link string, kind Kind) (Source, use, error) {
	if err := c.count(); err != nil {
		return Source{}, mark, err
	}
	if len(written) > c.limits.NameBytes || len(link) > c.limits.NameBytes {
		return Source{}, mark, fmt.Errorf("%w: the layer has a name of more than %d bytes", ErrTooLarge, c.limits.NameBytes)
	}
	name := Clean(written)
	if c.parts[0].whiteout(name) {
		return Source{}, mark, nil
	}
	if kind == Symlink || kind == HardLink {
		if c.linkBytes += int64(len(name) + len(link)); c.linkBytes > c.limits.LinkBytes {
			return Source{}, mark, fmt.Errorf("%w: the layer's links have more than %d bytes", ErrTooLarge, c.limits.LinkBytes)
		}
	}
	is := uninteresting
	if kind != Directory && kind != Other && c.wanted(name) {
		is = interesting
	}
	if err := c.add(name, Entry{Kind: kind, Link: link}, is == interesting); err != nil {
		return Source{}, mark, err
	}
	if is == interesting {
		// Each that goes by counts: a path may come more than once.
		if c.files++; c.files > c.limits.Files {
			return Source{}, mark, fmt.Errorf("%w: the layer has more than %d files of interest", ErrTooLarge, c.limits.Files)
		}
	}
	return Source{len(c.parts) - 1, name}, is, nil
}
