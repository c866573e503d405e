package imagefs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// named returns the paths of all selected files and links.
func named(tree Tree) []string {
	files, links := tree.Named(func(string) bool { return true })
	return append(files, links...)
}

func fuzzOne(t *testing.T, packed []byte) {
	limits := Limits{Entries: 1000, UnpackedBytes: 1 << 20}
	r, err := Unpack(bytes.NewReader(packed), limits, nil)
	if err == nil {
		defer r.Close()
		var l *Layer
		if l, err = readLayer(r, limits, isHAProxy, discard); err == nil {
			tree := NewTree([]*Layer{l, l}, NewSteps(DefaultSteps))
			for _, name := range named(tree) {
				if f, ok := tree.Lookup(name); ok && (f.Layer > 1 || !path.IsAbs(f.Path)) {
					t.Errorf("%q: %+v", name, f)
				}
			}
			return
		}
	}
	if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, tar.ErrInsecurePath) {
		t.Errorf("an error of no class: %v", err)
	}
}

// unpack applies a layer to a folder as an unpacker does, with real files and
// links: the whiteouts first, then the entries in order.
func unpack(t *testing.T, root string, entries []entry) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range entries {
		directory, base := path.Split(e.name)
		if base == opaqueWhiteout {
			children, err := os.ReadDir(filepath.Join(root, directory))
			if err != nil && !os.IsNotExist(err) {
				continue // no directory there: nothing to hide
			}
			for _, child := range children {
				must(os.RemoveAll(filepath.Join(root, directory, child.Name())))
			}
		} else if removed, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
			_ = os.RemoveAll(filepath.Join(root, directory, removed))
		}
	}
	for _, e := range entries {
		target := filepath.Join(root, e.name)
		if strings.HasPrefix(path.Base(e.name), whiteoutPrefix) {
			continue
		}
		// Parents of other kinds give way.
		for at := path.Dir(path.Clean(e.name)); at != "."; at = path.Dir(at) {
			if info, err := os.Lstat(filepath.Join(root, at)); err == nil && !info.IsDir() {
				must(os.Remove(filepath.Join(root, at)))
			}
		}
		must(os.MkdirAll(filepath.Dir(target), 0o755))
		if info, err := os.Lstat(target); err == nil && (e.kind != tar.TypeDir || !info.IsDir()) {
			must(os.RemoveAll(target))
		}
		switch e.kind {
		case tar.TypeReg:
			must(os.WriteFile(target, []byte(e.text), 0o644))
		case tar.TypeDir:
			must(os.MkdirAll(target, 0o755))
		case tar.TypeSymlink:
			must(os.Symlink(e.text, target))
		case tar.TypeLink:
			must(os.Link(filepath.Join(root, e.text), target))
		}
	}
}

// randomLayer returns entries on which all unpackers agree: each path once, none
// below a non-directory, hard links only to earlier files of the same layer.
func randomLayer(r *rand.Rand, index int) []entry {
	parts := []string{"a", "b", "haproxy"}
	random := func() string {
		names := make([]string, 1+r.IntN(3))
		for i := range names {
			names[i] = parts[r.IntN(len(parts))]
		}
		return strings.Join(names, "/")
	}
	var entries []entry
	taken := map[string]byte{} // by path: what is there
	free := func(name string, kind byte) bool {
		if _, ok := taken[name]; ok {
			return false
		}
		for at := path.Dir(name); at != "."; at = path.Dir(at) {
			if k, ok := taken[at]; ok && k != tar.TypeDir {
				return false
			}
		}
		if kind != tar.TypeDir {
			for other := range taken {
				if strings.HasPrefix(other, name+"/") {
					return false
				}
			}
		}
		return true
	}
	for i := range 1 + r.IntN(6) {
		name := random()
		switch content := fmt.Sprintf("%d.%d", index, i); r.IntN(8) {
		case 0, 1, 2:
			if free(name, tar.TypeReg) {
				taken[name] = tar.TypeReg
				entries = append(entries, file(name, content))
			}
		case 3:
			if free(name, tar.TypeDir) {
				taken[name] = tar.TypeDir
				entries = append(entries, dir(name))
			}
		case 4:
			if free(name, tar.TypeSymlink) {
				taken[name] = tar.TypeSymlink
				entries = append(entries, symlink(name, random()))
			}
		case 5:
			for other, kind := range taken {
				if kind == tar.TypeReg && free(name, tar.TypeLink) {
					taken[name] = tar.TypeLink
					entries = append(entries, hardlink(name, other))
					break
				}
			}
		case 6:
			// A whiteout needs a directory to lie in.
			if free(name, tar.TypeReg) {
				directory, base := path.Split(name)
				entries = append(entries, whiteoutFile(directory, base))
			}
		case 7:
			entries = append(entries, opaque(name+"/"))
		}
	}
	return entries
}

// TestLikeAnUnpacker compares the trees of random stacks of layers with the result of
// unpacking them.
func TestLikeAnUnpacker(t *testing.T) {
	paths := []string{}
	for _, a := range []string{"a", "b", "haproxy"} {
		paths = append(paths, a)
		for _, b := range []string{"a", "b", "haproxy"} {
			paths = append(paths, a+"/"+b)
			for _, c := range []string{"a", "b", "haproxy"} {
				paths = append(paths, a+"/"+b+"/"+c)
			}
		}
	}
	found := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		root := t.TempDir()
		var layers []*Layer
		var contents []map[Source]string
		var stack [][]entry
		for i := range 1 + r.IntN(4) {
			entries := randomLayer(r, i)
			if throughLink(root, entries) {
				break // what lies below a link of a lower layer is disputed
			}
			stack = append(stack, entries)
			unpack(t, root, entries)
			l, c := layer(t, entries...)
			layers, contents = append(layers, l), append(contents, c)
		}
		for _, name := range paths {
			want := onDisk(root, name)
			got := ""
			if f, ok := NewTree(layers, NewSteps(DefaultSteps)).Lookup("/" + name); ok {
				got = contents[f.Layer][f.Source]
				found++
			}
			if got != want {
				t.Fatalf("seed %d, %s: got %q, on disk %q; layers:\n%v", seed, name, got, want, stack)
			}
		}
	}
	if found < 500 {
		t.Errorf("only %d files were found: the stacks are too poor to prove anything", found)
	}
}

// throughLink reports whether an entry lies below a non-directory on the disk.
func throughLink(root string, entries []entry) bool {
	for _, e := range entries {
		for at := path.Dir(path.Clean(e.name)); at != "."; at = path.Dir(at) {
			if info, err := os.Lstat(filepath.Join(root, at)); err == nil && !info.IsDir() {
				return true
			}
		}
	}
	return false
}

// onDisk returns a regular file's content, following links within root; all
// links of these tests are relative.
func onDisk(root, name string) string {
	real, err := filepath.EvalSymlinks(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	info, err := os.Stat(real)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	content, err := os.ReadFile(real)
	if err != nil {
		return ""
	}
	return string(content)
}
