package imagefs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// entry is one tar entry.
type entry struct {
	name string
	kind byte
	text string // content, or a link's target
}

func file(name, content string) entry             { return entry{name, tar.TypeReg, content} }
func dir(name string) entry                       { return entry{name, tar.TypeDir, ""} }
func symlink(name, target string) entry           { return entry{name, tar.TypeSymlink, target} }
func hardlink(name, target string) entry          { return entry{name, tar.TypeLink, target} }
func whiteoutFile(dir, base string) entry         { return file(dir+".wh."+base, "") }
func opaque(dir string) entry                     { return file(dir+".wh..wh..opq", "") }
func isHAProxy(name string) bool                  { return strings.HasSuffix(name, "haproxy") }
func discard(Source, Attributes, io.Reader) error { return nil }

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o755, Format: tar.FormatPAX}
		switch e.kind {
		case tar.TypeReg:
			h.Size = int64(len(e.text))
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.text
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind == tar.TypeReg {
			if _, err := io.WriteString(w, e.text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readLayer(r io.Reader, limits Limits, wanted func(path string) bool, visit Visit) (*Layer, error) {
	return ReadLayer(r, limits, Selection{Wanted: wanted, Visit: visit})
}

// layer reads entries as a layer with every regular file selected, and returns the
// last content of each source.
func layer(t testing.TB, entries ...entry) (*Layer, map[Source]string) {
	t.Helper()
	contents := map[Source]string{}
	l, err := readLayer(bytes.NewReader(archive(t, entries...)), Limits{Files: 1000}, func(string) bool { return true },
		func(at Source, _ Attributes, r io.Reader) error {
			content, err := io.ReadAll(r)
			contents[at] = string(content)
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	return l, contents
}

func TestReadLayer(t *testing.T) {
	var visited []string
	l, err := readLayer(bytes.NewReader(archive(t,
		dir("usr/"), file("./usr//sbin/../sbin/haproxy", "a"), file("/abs/haproxy", "b"), file("../../up/haproxy", "c"),
		file("other", "d"), symlink("bin", "usr/bin"), hardlink("hard", "./usr/sbin/haproxy"),
		file("twice/haproxy", "old"), file("twice/haproxy", "new"),
		file("gone/haproxy", "x"), dir("gone/haproxy"), entry{"null", tar.TypeChar, ""},
	)), Limits{}, isHAProxy, func(at Source, a Attributes, r io.Reader) error {
		content, err := io.ReadAll(r)
		if int64(len(content)) != a.Size {
			t.Errorf("%s: size %d, content %q", at.Path, a.Size, content)
		}
		visited = append(visited, at.Path+"="+string(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/usr/sbin/haproxy=a", "/abs/haproxy=b", "/up/haproxy=c", "/twice/haproxy=old", "/twice/haproxy=new",
		"/gone/haproxy=x"}, visited); diff != "" {
		t.Errorf("visited (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"/usr/sbin/haproxy": true, "/abs/haproxy": true, "/up/haproxy": true, "/twice/haproxy": true,
		"/gone/haproxy": true}, l.parts[0].wanted); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
	want := map[string]Entry{"/bin": {Symlink, "usr/bin"}, "/hard": {HardLink, "/usr/sbin/haproxy"}}
	if diff := cmp.Diff(want, l.parts[0].links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func packGzip(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

func packZstd(data []byte) []byte {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return e.EncodeAll(data, nil)
}

func TestUnpack(t *testing.T) {
	data := archive(t, file("haproxy", strings.Repeat("x", 1000)))
	for name, packed := range map[string][]byte{
		"plain": data, "gzip": packGzip(data), "zstd": packZstd(data), "empty": {}, "short": {1},
		"two members": append(packGzip(data[:700]), packGzip(data[700:])...),
	} {
		r, err := Unpack(iotest.OneByteReader(bytes.NewReader(packed)), Limits{}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || r.Close() != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(packed) > 1 && !bytes.Equal(got, data) {
			t.Errorf("%s: unpacks to something else", name)
		}
	}
}

func TestErrors(t *testing.T) {
	data := archive(t, file("a/haproxy", "12345678"), file("b/haproxy", "1"), file("c", ""))
	packed := packGzip(data)
	failing := errors.New("connection reset")
	read := func(packed io.Reader, l Limits) error {
		r, err := Unpack(packed, l, nil)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = readLayer(r, l, isHAProxy, discard)
		return err
	}
	broken := bytes.Clone(packed)
	broken[len(broken)/2] ^= 0xff
	for _, tt := range []struct {
		name   string
		packed io.Reader
		limits Limits
		want   error
	}{
		{"none", bytes.NewReader(packed), Limits{}, nil},
		{"entries", bytes.NewReader(packed), Limits{Entries: 2}, ErrTooLarge},
		{"names", bytes.NewReader(packed), Limits{NameBytes: 5}, ErrTooLarge},
		{"files", bytes.NewReader(packed), Limits{Files: 1}, ErrTooLarge},
		{"unpacked", bytes.NewReader(packed), Limits{UnpackedBytes: 1000}, ErrTooLarge},
		{"ratio", bytes.NewReader(bytes.Repeat(packGzip(make([]byte, 1<<20)), 300)), Limits{}, ErrTooLarge},
		{"broken gzip", bytes.NewReader(broken), Limits{}, ErrMalformed},
		{"gzip cut short", bytes.NewReader(packed[:len(packed)-9]), Limits{}, ErrMalformed},
		{"zstd cut short", bytes.NewReader(packZstd(data)[:40]), Limits{}, ErrMalformed},
		{"no tar", strings.NewReader(strings.Repeat("no tar at all ", 100)), Limits{}, ErrMalformed},
		{"tar cut short", bytes.NewReader(data[:1200]), Limits{}, ErrMalformed},
		{"source fails", io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(failing)), Limits{}, ErrSource},
		{"source fails in plain tar", io.MultiReader(bytes.NewReader(data[:1200]), iotest.ErrReader(io.ErrUnexpectedEOF)), Limits{}, ErrSource},
	} {
		if err := read(tt.packed, tt.limits); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestWindow: the memory of a zstd window is reserved before its use, and released.
func TestWindow(t *testing.T) {
	e, err := zstd.NewWriter(nil, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	packed := e.EncodeAll(archive(t, file("haproxy", strings.Repeat("x", 2<<20))), nil)
	refused := errors.New("there is none left")
	for _, tt := range []struct {
		name   string
		packed []byte
		window int64
		refuse error
		asked  int64
		want   error
	}{
		{name: "fits", packed: packed, window: 1 << 20, asked: 1 << 20},
		{name: "too large", packed: packed, window: 1 << 19, asked: 1 << 19, want: ErrTooLarge},
		{name: "refused", packed: packed, window: 1 << 20, refuse: refused, asked: 1 << 20, want: refused},
		{name: "gzip needs none", packed: packGzip(archive(t)), window: 1 << 20, refuse: refused},
	} {
		asked, held := int64(0), int64(0)
		r, err := Unpack(bytes.NewReader(tt.packed), Limits{WindowBytes: tt.window}, func(n int64) (func(), error) {
			if asked = n; tt.refuse != nil {
				return nil, tt.refuse
			}
			held += n
			return func() { held -= n }, nil
		})
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			_ = r.Close()
		}
		if !errors.Is(err, tt.want) || asked != tt.asked || held != 0 {
			t.Errorf("%s: %v; %d bytes asked for, %d held", tt.name, err, asked, held)
		}
	}
}
