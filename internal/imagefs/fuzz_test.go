package imagefs

import (
	"bytes"
	"errors"
	"io"
	"path"
	"testing"
	"testing/iotest"
)

// FuzzTree looks up any path in two layers of any bytes: a result is a file of its
// layer. A failing source and a malformed one give different errors.
//
// Run it with -fuzzminimizetime=10x: by default go test spends a minute on minimising
// each of the first inputs.
func FuzzTree(f *testing.F) {
	lower := archive(f, file("usr/bin/haproxy", "a"), symlink("bin", "usr/bin"), hardlink("haproxy", "usr/bin/haproxy"))
	upper := archive(f, opaque("usr/"), whiteoutFile("", "bin"), file("bin/haproxy", "b"), symlink("l", "bin/../haproxy"))
	loops := archive(f, symlink("haproxy", "l/haproxy"), symlink("l", "."), hardlink("a", "b"), hardlink("b", "a"))
	f.Add(lower, upper, "/bin/haproxy", uint16(0))
	f.Add(packGzip(lower), packZstd(upper), "../l", uint16(0))
	f.Add(loops, loops, "l/l/l/haproxy", uint16(0))
	f.Add(packGzip(lower), loops, "a", uint16(20))
	f.Add([]byte{}, []byte("\x1f\x8b"), "", uint16(1))
	f.Fuzz(func(t *testing.T, lower, upper []byte, name string, failAt uint16) {
		var layers []*Layer
		var files []map[Source]bool
		for _, packed := range [][]byte{lower, upper} {
			var source io.Reader = bytes.NewReader(packed)
			if failAt > 0 {
				source = io.MultiReader(io.LimitReader(source, int64(failAt)), iotest.ErrReader(errors.New("connection reset")))
			}
			read := map[Source]bool{}
			l, err := fuzzLayer(source, read)
			if err != nil {
				if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrSource) {
					t.Fatalf("an error of no class: %v", err)
				}
				if failAt == 0 && errors.Is(err, ErrSource) {
					t.Fatalf("the source did not fail: %v", err)
				}
				continue
			}
			if failAt > 0 {
				t.Fatal("a layer was read whose source fails")
			}
			layers, files = append(layers, l), append(files, read)
		}
		tree := NewTree(layers, NewSteps(DefaultSteps))
		for _, name := range append(named(tree), name) {
			got, ok := tree.Lookup(name)
			if !ok {
				continue
			}
			if got.Path != Clean(got.Path) || !path.IsAbs(got.Path) {
				t.Errorf("%q leads to the path %q", name, got.Path)
			}
			if !files[got.Layer][got.Source] {
				t.Errorf("%q leads to %+v, which was never read", name, got)
			}
		}
	})
}

// fuzzLayer reads a layer under small limits, and every file in it.
func fuzzLayer(source io.Reader, read map[Source]bool) (*Layer, error) {
	limits := Limits{Entries: 200, Files: 200, UnpackedBytes: 1 << 20, LinkBytes: 1 << 14}
	r, err := Unpack(source, limits, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readLayer(r, limits, func(string) bool { return true }, func(at Source, _ Attributes, content io.Reader) error {
		read[at] = true
		_, err := io.Copy(io.Discard, content)
		return err
	})
}
