// Package unpack compares capvet's reading of layers with the files that real
// unpackers, containerd's and umoci's, write to a disk. Its tests use random
// stacks of layers with all kinds of entries, invalid ones included. It does not
// measure speed.
package unpack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/imagefs"
)

// Entry is one entry of a layer.
type Entry struct {
	Kind   byte // of archive/tar
	Name   string
	Text   string // content, or where a link points
	Format tar.Format
}

func (e Entry) String() string { return fmt.Sprintf("%c %s %s;", e.Kind, e.Name, e.Text) }

// Sparse is the kind of a file that begins with a hole, as GNU tar writes it into
// PAX archives. In the old form, with a kind of its own, neither containerd nor
// umoci takes it.
const Sparse = 'P'

// hole is how many zeroes a sparse file begins with, in bytes.
const hole = 512

// Tar writes a layer.
func Tar(entries []Entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, content string) error {
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write([]byte(content))
		return err
	}
	for _, e := range entries {
		h := &tar.Header{Typeflag: e.Kind, Name: e.Name, Mode: 0o755, Format: e.Format}
		content := ""
		switch e.Kind {
		case tar.TypeReg:
			content = e.Text
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.Text
		case Sparse:
			// archive/tar reads the form but does not write it.
			at := b.Len()
			records := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
				record("GNU.sparse.name", e.Name) + record("GNU.sparse.realsize", fmt.Sprint(hole+len(e.Text)))
			if err := add(&tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders/sparse"}, records); err != nil {
				return nil, err
			}
			retype(b.Bytes()[at:], tar.TypeXHeader)
			spans := fmt.Sprintf("1\n%d\n%d\n", hole, len(e.Text))
			h = &tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile/sparse", Mode: 0o755}
			content = spans + strings.Repeat("\x00", 512-len(spans)) + e.Text
		}
		if err := add(h, content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// record writes a PAX record, whose length counts its own digits.
func record(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest) + 1
	for n != len(rest)+len(fmt.Sprint(n)) {
		n++
	}
	return fmt.Sprint(n) + rest
}

// retype changes the kind in a header.
func retype(header []byte, kind byte) {
	header[156] = kind
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header[:512] {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// Whiteouts: of a path, and of all that a directory has in the layers below.
const (
	mark   = ".wh."
	opaque = ".wh..wh..opq"
)

// ThroughLink reports whether layers have an entry below a path that is a symbolic
// link in any of them. Unpackers into one folder write through the link; an
// overlay of folders shows a directory in its place. Runtimes differ, so the
// results need not agree.
func ThroughLink(layers [][]Entry) bool {
	links := map[string]bool{}
	for before := -1; before < len(links); {
		before = len(links)
		for _, e := range slices.Concat(layers...) {
			if e.Kind == tar.TypeSymlink || e.Kind == tar.TypeLink && links[imagefs.Clean(e.Text)] {
				links[imagefs.Clean(e.Name)] = true
			}
		}
	}
	below := func(name string) bool {
		for at := path.Dir(imagefs.Clean(name)); at != "/"; at = path.Dir(at) {
			if links[at] {
				return true
			}
		}
		return false
	}
	for _, e := range slices.Concat(layers...) {
		if below(e.Name) || e.Kind == tar.TypeLink && below(e.Text) {
			return true
		}
	}
	return false
}

// RemovesItsOwn reports whether a layer has a whiteout after an entry for the same
// path, or for one below it. By the image format a whiteout applies to lower
// layers, so umoci and capvet keep such entries. containerd removes them when it
// unpacks into one folder (for an opaque directory, entries in directories that
// the layer does not list).
func RemovesItsOwn(layer []Entry) bool {
	for i, e := range layer {
		dir, base := path.Split(imagefs.Clean(e.Name))
		removed, ok := strings.CutPrefix(base, mark)
		if !ok {
			continue
		}
		at := dir + removed
		if base == opaque {
			at = path.Clean(dir)
		}
		for _, before := range layer[:i] {
			if name := imagefs.Clean(before.Name); name == at || strings.HasPrefix(name, at+"/") {
				return true
			}
		}
	}
	return false
}

// names are the parts of all paths. The long ones need an extended header.
var names = []string{"a", "b", "c", strings.Repeat("l", 120)}

// Paths returns all that a layer's entries can be at, absolute.
func Paths() []string {
	var all []string
	below := []string{""}
	for range 3 {
		var next []string
		for _, at := range below {
			for _, name := range names {
				next = append(next, at+"/"+name)
			}
		}
		all, below = append(all, next...), next
	}
	return all
}

// Random returns a random layer to put on top of lower ones.
func Random(r *rand.Rand, below [][]Entry) []Entry {
	name := func() string {
		parts := make([]string, 1+r.IntN(3))
		for i := range parts {
			parts[i] = names[r.IntN(len(names)+3)%len(names)]
		}
		return strings.Join(parts, "/")
	}
	var entries []Entry
	for i := range 1 + r.IntN(7) {
		n := name()
		e := Entry{Kind: tar.TypeReg, Name: n, Text: fmt.Sprintf("%d.%d", len(below), i),
			Format: []tar.Format{tar.FormatPAX, tar.FormatGNU}[r.IntN(2)]}
		switch r.IntN(11) {
		case 0, 1:
			e.Kind, e.Name, e.Text = tar.TypeDir, n+"/", ""
		case 2:
			e.Kind, e.Text = tar.TypeSymlink, []string{"", "/", "../"}[r.IntN(3)]+name()
		case 3, 4:
			e.Kind, e.Text = tar.TypeLink, spelled(r, name())
		case 5:
			e.Name, e.Text = path.Join(path.Dir(n), mark+path.Base(n)), ""
		case 6:
			e.Name, e.Text = path.Join(n, opaque), ""
		case 7:
			e.Kind = Sparse
		case 8:
			e.Kind, e.Text = tar.TypeFifo, ""
		}
		if len(entries) > 0 && r.IntN(8) == 0 {
			e.Name = strings.TrimSuffix(entries[r.IntN(len(entries))].Name, "/")
		}
		e.Name = spelled(r, e.Name)
		// Unpackers refuse most impossible entries, so only some are generated.
		if r.IntN(30) == 0 || possible(append(slices.Clone(below), entries), e) {
			entries = append(entries, e)
		}
	}
	return entries
}

// possible reports whether unpackers can accept an entry on top of layers: its
// existing parents are directories, and the target of a hard link is a file.
func possible(layers [][]Entry, e Entry) bool {
	there := map[string]byte{}
	for _, e := range slices.Concat(layers...) {
		name := imagefs.Clean(e.Name)
		dir, base := path.Split(name)
		if removed, ok := strings.CutPrefix(base, mark); ok {
			maps.DeleteFunc(there, func(at string, _ byte) bool {
				return at == dir+removed || strings.HasPrefix(at, dir+removed+"/") || base == opaque && strings.HasPrefix(at, dir)
			})
			continue
		}
		if e.Kind == tar.TypeLink {
			e.Kind = there[imagefs.Clean(e.Text)]
		}
		there[name] = e.Kind
		if e.Kind != tar.TypeDir {
			maps.DeleteFunc(there, func(at string, _ byte) bool { return strings.HasPrefix(at, name+"/") })
		}
	}
	name := imagefs.Clean(e.Name)
	for at := path.Dir(name); at != "/"; at = path.Dir(at) {
		if kind, ok := there[at]; ok && kind != tar.TypeDir {
			return false
		}
	}
	to := imagefs.Clean(e.Text)
	return e.Kind != tar.TypeLink || to != name && (there[to] == tar.TypeReg || there[to] == Sparse)
}

// spelled writes a path in another way.
func spelled(r *rand.Rand, name string) string {
	switch r.IntN(10) {
	case 0:
		return "./" + name
	case 1:
		return "/" + name
	case 2:
		return strings.Replace(name, "/", "//", 1)
	case 3:
		return "x/../" + name
	case 4:
		return "../" + name
	}
	return name
}
