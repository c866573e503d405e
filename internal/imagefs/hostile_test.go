package imagefs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// lookup returns the path and content that a path leads to in a stack of layers.
func lookup(t testing.TB, name string, stack ...[]entry) string {
	t.Helper()
	var layers []*Layer
	var contents []map[Source]string
	for _, entries := range stack {
		l, c := layer(t, entries...)
		layers, contents = append(layers, l), append(contents, c)
	}
	f, ok := NewTree(layers, NewSteps(DefaultSteps)).Lookup(name)
	if !ok {
		return ""
	}
	return f.Path + "=" + contents[f.Layer][f.Source]
}

func TestDisputed(t *testing.T) {
	bin := []entry{symlink("bin", "usr/bin"), file("usr/bin/haproxy", "old")}
	tests := []struct {
		name  string
		stack [][]entry
		path  string
		want  string
	}{
		{"written through a link of a lower layer", [][]entry{bin, {file("bin/haproxy", "new")}}, "/bin/haproxy", "/bin/haproxy=new"},
		{"what it may have replaced", [][]entry{bin, {file("bin/haproxy", "new")}}, "/usr/bin/haproxy", "/usr/bin/haproxy=old"},
		{"the link comes later", [][]entry{{file("bin/haproxy", "first")}, bin}, "/bin/haproxy", "/usr/bin/haproxy=old"},
		{"the link's target changes later", [][]entry{bin, {file("usr/bin/haproxy", "new")}}, "/bin/haproxy", "/usr/bin/haproxy=new"},
		{"hard link below a link of a lower layer", [][]entry{bin, {file("x", "new"), hardlink("bin/haproxy", "x")}}, "/bin/haproxy",
			"/bin/haproxy=new"},
		{"a whiteout without a name", [][]entry{{file("d/haproxy", "a")}, {whiteoutFile("d/", "")}}, "/d/haproxy", "/d/haproxy=a"},
		{"a whiteout of its own directory", [][]entry{{file("d/haproxy", "a")}, {whiteoutFile("d/", ".")}}, "/d/haproxy", "/d/haproxy=a"},
		{"a whiteout of the directory above", [][]entry{{file("d/e/haproxy", "a")}, {whiteoutFile("d/e/", "..")}}, "/d/e/haproxy",
			"/d/e/haproxy=a"},
		{"other marks remove nothing", [][]entry{{file("d/haproxy", "a")}, {file("d/.wh..wh.plnk", "")}}, "/d/haproxy", "/d/haproxy=a"},
		{"up from behind a link into what is hidden", [][]entry{{file("a/haproxy", "old"), dir("b/c")},
			{opaque("a/"), symlink("l", "b/c/../../a/haproxy")}}, "/l", ""},
		{"up and into what shows", [][]entry{{file("a/haproxy", "old"), dir("b/c")}, {opaque("b/"), symlink("l", "b/c/../../a/haproxy")}}, "/l",
			"/a/haproxy=old"},
		{"absolute link out of a hidden directory", [][]entry{{file("a/haproxy", "a")}, {opaque("b/"), symlink("b/l", "/a/haproxy")}}, "/b/l",
			"/a/haproxy=a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := lookup(t, tt.path, tt.stack...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLookupHasAnEnd(t *testing.T) {
	chain := func(n int) []entry {
		entries := []entry{file("0", "a")}
		for i := range n {
			entries = append(entries, symlink(fmt.Sprint(i+1), fmt.Sprint(i)))
		}
		return entries
	}
	for _, tt := range []struct {
		name    string
		entries []entry
		path    string
		found   bool
	}{
		{"as many links as may be", chain(maxLinks), fmt.Sprintf("/%d", maxLinks), true},
		{"one link more", chain(maxLinks + 1), fmt.Sprintf("/%d", maxLinks+1), false},
		{"the longest target", []entry{file(strings.Repeat("d/", 2000)+"f", "a"), symlink("l", strings.Repeat("d/", 2000)+"f")}, "/l", true},
	} {
		if got := lookup(t, tt.path, tt.entries) != ""; got != tt.found {
			t.Errorf("%s: found %v", tt.name, got)
		}
	}
}

func TestLinksAreBounded(t *testing.T) {
	data := archive(t, symlink("a/haproxy", "12345"), hardlink("b/haproxy", "a/haproxy"), file("c/haproxy", "1"), file("c/haproxy", "2"))
	for _, tt := range []struct {
		name   string
		limits Limits
		want   error
	}{
		// "/a/haproxy12345" and "/b/haproxya/haproxy" have 34 bytes.
		{"bytes just fit", Limits{LinkBytes: 34}, nil},
		{"bytes", Limits{LinkBytes: 33}, ErrTooLarge},
		{"links and repeated files just fit", Limits{Files: 4}, nil},
		{"links and repeated files", Limits{Files: 3}, ErrTooLarge},
		{"names just fit", Limits{NameBytes: 9}, nil},
		{"names", Limits{NameBytes: 8}, ErrTooLarge},
		// Three directories count, too.
		{"entries just fit", Limits{Entries: 7}, nil},
		{"entries", Limits{Entries: 6}, ErrTooLarge},
	} {
		_, err := readLayer(bytes.NewReader(data), tt.limits, isHAProxy, discard)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// sparse is an archive with a sparse file that lacks its last byte of data, which
// archive/tar reports with an unexported error.
func sparse(t *testing.T) []byte {
	t.Helper()
	data := archive(t, file("haproxy", ""))
	header := data[:512]
	if data[156] != tar.TypeReg {
		t.Fatal("the archive does not start with its file")
	}
	copy(header[257:], "ustar  \x00") // GNU's
	header[156] = tar.TypeGNUSparse
	copy(header[386:], "00000000010\x0000000000010\x00") // data at 8, of 8 bytes
	copy(header[483:], "00000000020\x00")                // 16 bytes in all
	copy(header[148:], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

func TestErrorsOfContent(t *testing.T) {
	own := io.ErrUnexpectedEOF // as a reader of an executable may return
	failing := errors.New("connection reset")
	read := func(_ Source, _ Attributes, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	long := archive(t, file("haproxy", strings.Repeat("x", 100_000)))
	for _, tt := range []struct {
		name   string
		packed io.Reader
		visit  Visit
		want   error
		not    error
	}{
		{"cut short", bytes.NewReader(long[:3000]), read, ErrMalformed, ErrSource},
		{"sparse without its data", bytes.NewReader(sparse(t)), read, ErrMalformed, ErrSource},
		{"source fails", io.MultiReader(bytes.NewReader(long[:3000]), iotest.ErrReader(failing)), read, ErrSource, ErrMalformed},
		{"source fails in a gzip header", io.MultiReader(bytes.NewReader(packGzip(long)[:5]), iotest.ErrReader(failing)), read, ErrSource,
			ErrMalformed},
		{"source fails at once", iotest.ErrReader(failing), read, ErrSource, ErrMalformed},
		{"the visitor's own", bytes.NewReader(long), func(Source, Attributes, io.Reader) error { return own }, own, ErrMalformed},
	} {
		r, err := Unpack(tt.packed, Limits{}, nil)
		if err == nil {
			_, err = readLayer(r, Limits{}, isHAProxy, tt.visit)
			_ = r.Close()
		}
		if !errors.Is(err, tt.want) || errors.Is(err, tt.not) {
			t.Errorf("%s: got %v, want %v and not %v", tt.name, err, tt.want, tt.not)
		}
	}
}

// BenchmarkLookup measures the most expensive look-up within the limits, in the
// largest stack of layers.
func BenchmarkLookup(b *testing.B) {
	l, _ := layer(b, symlink("haproxy", "/"+strings.Repeat("a/", 2000)+"b"))
	layers := make([]*Layer, 256)
	for i := range layers {
		layers[i] = l
	}
	for b.Loop() {
		if _, ok := NewTree(layers, NewSteps(DefaultSteps)).Lookup("/haproxy"); ok {
			b.Fatal("found what is not there")
		}
	}
}
