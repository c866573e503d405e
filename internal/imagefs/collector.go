package imagefs

import "fmt"

// collector is a builder that enforces limits.
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

// count counts an entry against its limit.
func (c *collector) count() error {
	if c.entries++; c.entries > c.limits.Entries {
		return fmt.Errorf("%w: the layer has more than %d entries", ErrTooLarge, c.limits.Entries)
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
func (c *collector) entry(written, link string, kind Kind) (Source, disposition, error) {
	if err := c.count(); err != nil {
		return Source{}, 0, err
	}
	if len(written) > c.limits.NameBytes || len(link) > c.limits.NameBytes {
		return Source{}, 0, fmt.Errorf("%w: the layer has a name of more than %d bytes", ErrTooLarge, c.limits.NameBytes)
	}
	name := Clean(written)
	if c.parts[0].addWhiteout(name) {
		return Source{}, whiteout, nil
	}
	if kind == Symlink || kind == HardLink {
		if c.linkBytes += int64(len(name) + len(link)); c.linkBytes > c.limits.LinkBytes {
			return Source{}, 0, fmt.Errorf("%w: the layer's links have more than %d bytes", ErrTooLarge, c.limits.LinkBytes)
		}
	}
	d := skip
	if kind != Directory && kind != Other && c.wanted != nil && c.wanted(name) {
		d = keep
	}
	if err := c.add(name, Entry{Kind: kind, Link: link}, d == keep); err != nil {
		return Source{}, 0, err
	}
	if d == keep {
		// Repeated entries of one path all count.
		if c.files++; c.files > c.limits.Files {
			return Source{}, 0, fmt.Errorf("%w: the layer has more than %d files of interest", ErrTooLarge, c.limits.Files)
		}
	}
	return Source{len(c.parts) - 1, name}, d, nil
}
