package imagefs

import (
	"archive/tar"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"path"
	"strings"
)

// Kind is what an entry of a layer is.
type Kind uint8

// Kinds of entries.
const (
	Regular Kind = iota + 1
	Directory
	Symlink
	HardLink
	Other // devices, FIFOs
)

// Entry is what a layer says of one path.
type Entry struct {
	Kind Kind
	// Link is a symbolic link's target as written, or the clean path of the
	// file that a hard link names.
	Link string
}

// Marks of the OCI image format, "Whiteouts"; they come from AUFS.
const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
	auxiliary      = ".wh..wh." // other AUFS bookkeeping
)

// Layer is what one layer does to the file system. Paths are absolute, clean
// and slash-separated.
type Layer struct {
	// Links are the symbolic and hard links.
	Links map[string]Entry
	// Wanted are the regular files that were asked for.
	Wanted map[string]bool

	seed   maphash.Seed
	others map[uint64]Kind // by hash of the path: everything else
	gone   map[uint64]bool // whiteouts
	opaque map[uint64]bool // directories whose lower content is gone
}

// Visit is given each wanted regular file as it goes by. A later file of the
// same path takes the earlier one's place.
type Visit func(path string, size int64, content io.Reader) error

// ReadLayer reads an unpacked layer to its end. wanted says which regular
// files are handed to visit, by their clean absolute paths. An error of visit
// ends the reading and is returned.
func ReadLayer(unpacked io.Reader, limits Limits, wanted func(path string) bool, visit Visit) (*Layer, error) {
	limits = limits.WithDefaults()
	l := &Layer{
		Links: map[string]Entry{}, Wanted: map[string]bool{},
		seed: maphash.MakeSeed(), others: map[uint64]Kind{}, gone: map[uint64]bool{}, opaque: map[uint64]bool{},
	}
	archive := tar.NewReader(unpacked)
	files, linkBytes := 0, int64(0)
	for entries := 0; ; entries++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, tarError(err)
		}
		if entries >= limits.Entries {
			return nil, fmt.Errorf("%w: the layer has more than %d entries", ErrTooLarge, limits.Entries)
		}
		if len(header.Name) > limits.NameBytes || len(header.Linkname) > limits.NameBytes {
			return nil, fmt.Errorf("%w: the layer has a name of more than %d bytes", ErrTooLarge, limits.NameBytes)
		}
		name := Clean(header.Name)
		if l.whiteout(name) {
			continue
		}
		kind := kindOf(header.Typeflag)
		if kind == Symlink || kind == HardLink {
			if linkBytes += int64(len(name) + len(header.Linkname)); linkBytes > limits.LinkBytes {
				return nil, fmt.Errorf("%w: the layer's links have more than %d bytes", ErrTooLarge, limits.LinkBytes)
			}
		}
		interesting := kind != Directory && kind != Other && wanted(name)
		l.add(name, Entry{Kind: kind, Link: header.Linkname}, interesting)
		if !interesting {
			continue
		}
		// Each that goes by counts: a path may come more than once.
		if files++; files > limits.Files {
			return nil, fmt.Errorf("%w: the layer has more than %d files of interest", ErrTooLarge, limits.Files)
		}
		if kind != Regular {
			continue
		}
		if header.Size > limits.FileBytes {
			return nil, fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrTooLarge, name, header.Size, limits.FileBytes)
		}
		if err := visit(name, header.Size, content{archive}); err != nil {
			return nil, err
		}
	}
	// Behind the archive's end may come padding. It has to be read for the
	// layer's digest, and to meet the limits.
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		return nil, err
	}
	return l, nil
}

// content is one file's. Its errors are told apart here, where they cannot be
// mistaken for those of who reads it.
type content struct{ r io.Reader }

func (c content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = tarError(err)
	}
	return n, err
}

// tarError gives the errors of archive/tar, not all of which have a name, their
// class; those of the stream beneath have one.
func tarError(err error) error {
	if errors.Is(err, ErrSource) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w tar stream: %w", ErrMalformed, err)
}

func kindOf(flag byte) Kind {
	switch flag {
	case tar.TypeReg, tar.TypeRegA, tar.TypeGNUSparse, tar.TypeCont: //nolint:staticcheck // TypeRegA occurs in old archives
		return Regular
	case tar.TypeDir:
		return Directory
	case tar.TypeSymlink:
		return Symlink
	case tar.TypeLink:
		return HardLink
	}
	return Other
}

// whiteout notes a mark and reports whether name is one.
func (l *Layer) whiteout(name string) bool {
	dir, base := path.Split(name)
	switch {
	case base == opaqueMark:
		l.opaque[l.hash(path.Clean(dir))] = true
	case strings.HasPrefix(base, auxiliary):
	case strings.HasPrefix(base, whiteoutPrefix):
		// Names that lead out of the directory remove nothing: containerd
		// refuses them.
		if removed := base[len(whiteoutPrefix):]; removed != "" && removed != "." && removed != ".." {
			l.gone[l.hash(path.Join(dir, removed))] = true
		}
	default:
		return false
	}
	return true
}

// add notes an entry; the last of a path stands.
func (l *Layer) add(name string, e Entry, wanted bool) {
	delete(l.Links, name)
	delete(l.Wanted, name)
	switch e.Kind {
	case HardLink:
		e.Link = Clean(e.Link)
		l.Links[name] = e
	case Symlink:
		l.Links[name] = e
	case Regular:
		if wanted {
			l.Wanted[name] = true
		}
	}
	l.others[l.hash(name)] = e.Kind
}

// Bytes returns about how much memory the layer takes.
func (l *Layer) Bytes() int64 {
	const perHash, perName = 24, 96 // of a map's element with its share of the empty ones
	n := int64(perHash * (len(l.others) + len(l.gone) + len(l.opaque)))
	for name, e := range l.Links {
		n += int64(perName + len(name) + len(e.Link))
	}
	for name := range l.Wanted {
		n += int64(perName + len(name))
	}
	return n
}

func (l *Layer) hash(name string) uint64 { return maphash.String(l.seed, name) }

// entry returns what the layer itself has at a path.
func (l *Layer) entry(name string) (Entry, bool) {
	if e, ok := l.Links[name]; ok {
		return e, true
	}
	kind, ok := l.others[l.hash(name)]
	return Entry{Kind: kind}, ok
}

// hides reports whether the layer keeps what lower layers have at a path from
// being seen.
func (l *Layer) hides(name string) bool {
	if l.gone[l.hash(name)] {
		return true
	}
	for parent := path.Dir(name); ; parent = path.Dir(parent) {
		if l.covers(parent) {
			return true
		}
		if parent == "/" {
			return false
		}
	}
}

// covers reports whether the layer keeps what lower layers have in a directory
// from being seen.
func (l *Layer) covers(directory string) bool {
	h := l.hash(directory)
	if l.gone[h] || l.opaque[h] {
		return true
	}
	e, ok := l.entry(directory)
	return ok && e.Kind != Directory && directory != "/"
}

// Clean returns the absolute, clean form of a path in a layer. What climbs out
// of the root stays at the root, as it does for an unpacker that is confined to
// it.
func Clean(name string) string { return path.Clean("/" + name) }
