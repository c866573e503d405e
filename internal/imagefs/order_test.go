package imagefs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestOrder: within a layer each entry replaces the earlier one in its place.
func TestOrder(t *testing.T) {
	tests := []struct {
		name  string
		stack [][]entry
		path  string
		want  string
	}{
		{"a file takes the place of a directory", [][]entry{{file("d/haproxy", "a"), file("d", "b")}}, "/d/haproxy", ""},
		{"and is there", [][]entry{{file("d/haproxy", "a"), file("d", "b")}}, "/d", "/d=b"},
		{"and back", [][]entry{{file("d/haproxy", "a"), file("d", "b"), dir("d")}}, "/d/haproxy", ""},
		{"and back, with a file", [][]entry{{file("d/haproxy", "a"), file("d", "b"), dir("d"), file("d/haproxy", "c")}}, "/d/haproxy",
			"/d/haproxy=c"},
		{"and back, unlisted", [][]entry{{file("d/haproxy", "a"), file("d", "b"), file("d/haproxy", "c")}}, "/d/haproxy", "/d/haproxy=c"},
		{"and back, over a lower layer", [][]entry{{file("d/haproxy", "old")}, {file("d", "b"), dir("d")}}, "/d/haproxy", ""},
		{"a link takes the place of a directory", [][]entry{{file("d/haproxy", "a"), file("e/haproxy", "b"), symlink("d", "e")}}, "/d/haproxy",
			"/e/haproxy=b"},
		{"a directory takes the place of a link", [][]entry{{file("e/haproxy", "b"), symlink("d", "e"), dir("d")}}, "/d/haproxy", ""},
		{"a listed directory is only listed", [][]entry{{file("d/haproxy", "a"), dir("d")}}, "/d/haproxy", "/d/haproxy=a"},
		{"a hard link keeps what it named", [][]entry{{file("x", "old"), hardlink("haproxy", "x"), file("x", "new")}}, "/haproxy",
			"/haproxy=old"},
		{"the name does not", [][]entry{{file("x", "old"), hardlink("haproxy", "x"), file("x", "new")}}, "/x", "/x=new"},
		{"even what was in a directory that went", [][]entry{{file("d/x", "a"), hardlink("haproxy", "d/x"), file("d", "b")}}, "/haproxy",
			"/haproxy=a"},
		{"a whiteout is for lower layers, wherever it stands", [][]entry{{file("haproxy", "old")},
			{file("d/x", ""), file("d", ""), whiteoutFile("", "haproxy")}}, "/haproxy", ""},
		{"and spares its own", [][]entry{{file("d/x", ""), file("haproxy", "new"), file("d", ""), whiteoutFile("", "haproxy")}}, "/haproxy",
			"/haproxy=new"},
		{"a hard link to a link is a link", [][]entry{{file("x", "a"), symlink("l", "x"), hardlink("haproxy", "l")}}, "/haproxy", "/x=a"},
		{"relative to where it lies", [][]entry{{file("x", "a"), file("d/x", "b"), symlink("l", "x"), hardlink("d/haproxy", "l")}},
			"/d/haproxy", "/d/x=b"},
		{"of a lower layer", [][]entry{{file("x", "a"), symlink("l", "x")}, {hardlink("haproxy", "l")}}, "/haproxy", "/x=a"},
		{"to a directory", [][]entry{{symlink("l", "usr/bin"), hardlink("bin", "l"), file("usr/bin/haproxy", "a")}}, "/bin/haproxy",
			"/usr/bin/haproxy=a"},
		{"a hard link's target, removed with its directory", [][]entry{{file("d/x", "a")}, {hardlink("haproxy", "d/x"), file("d", "b")}},
			"/haproxy", "/haproxy=a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := lookup(t, tt.path, tt.stack...); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPartsAreBounded(t *testing.T) {
	turns := func(n int) []entry {
		var entries []entry
		for range n {
			entries = append(entries, file("d/haproxy", "a"), file("d", "b"), dir("d"))
		}
		return entries
	}
	read := func(entries []entry) error {
		_, err := readLayer(bytes.NewReader(archive(t, entries...)), Limits{}, isHAProxy, discard)
		return err
	}
	if err := read(turns(maxParts/2 - 1)); err != nil {
		t.Errorf("as often as may be: %v", err)
	}
	if err := read(turns(maxParts)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too often: %v", err)
	}
}

// TestInOrderLikeAnUnpacker compares stacks of self-contradictory layers with the
// result of unpacking them entry by entry.
func TestInOrderLikeAnUnpacker(t *testing.T) {
	names := []string{"a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/b", "a/b/a", "b/a/b"}
	found, odd := 0, 0
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 2))
		root := t.TempDir()
		var layers []*Layer
		var contents []map[Source]string
		var stack [][]entry
		for i := range 1 + r.IntN(3) {
			var entries []entry
			for j := range 2 + r.IntN(8) {
				name, other := names[r.IntN(len(names))], names[r.IntN(len(names))]
				switch r.IntN(6) {
				case 0, 1:
					entries = append(entries, file(name, fmt.Sprintf("%d.%d", i, j)))
				case 2:
					entries = append(entries, dir(name))
				case 3:
					entries = append(entries, symlink(name, path.Base(other)))
				case 4, 5:
					entries = append(entries, hardlink(name, other))
				}
			}
			entries = writeUndisputed(t, root, entries)
			stack = append(stack, entries)
			l, c := layer(t, entries...)
			if len(l.parts) > 1 {
				odd++
			}
			layers, contents = append(layers, l), append(contents, c)
		}
		for _, name := range names {
			want, got := onDisk(root, name), ""
			if f, ok := NewTree(layers, NewSteps(DefaultSteps)).Lookup("/" + name); ok {
				got = contents[f.Layer][f.Source]
				found++
			}
			if got != want {
				t.Fatalf("seed %d, %s: got %q, on disk %q; layers:\n%v", seed, name, got, want, stack)
			}
		}
	}
	if found < 500 || odd < 100 {
		t.Errorf("only %d files were found, and %d layers contradict themselves: too few to prove anything", found, odd)
	}
}

// writeUndisputed unpacks the entries on which all unpackers agree, and returns
// them: none through a link or below a file of a lower layer, no hard link to a
// missing file.
func writeUndisputed(t *testing.T, root string, entries []entry) []entry {
	t.Helper()
	var kept []entry
	own := map[string]bool{}
	for _, e := range entries {
		if throughSymlink(root, e.name) || belowForeignFile(root, e.name, own) {
			continue
		}
		if e.kind == tar.TypeLink {
			info, err := os.Lstat(filepath.Join(root, e.text))
			if err != nil || info.IsDir() || throughSymlink(root, e.text) || e.text == e.name || strings.HasPrefix(e.name+"/", e.text+"/") ||
				strings.HasPrefix(e.text, e.name+"/") {
				continue
			}
		}
		kept = append(kept, e)
		own[e.name] = true
		unpack(t, root, []entry{e})
	}
	return kept
}

// belowForeignFile reports whether a path leads through a file that the layer has
// not itself written.
func belowForeignFile(root, name string, own map[string]bool) bool {
	for at := path.Dir(name); at != "."; at = path.Dir(at) {
		if info, err := os.Lstat(filepath.Join(root, at)); err == nil && !info.IsDir() && !own[at] {
			return true
		}
	}
	return false
}

// throughSymlink reports whether a path leads through a link on the disk.
func throughSymlink(root, name string) bool {
	for at := path.Dir(name); at != "."; at = path.Dir(at) {
		if info, err := os.Lstat(filepath.Join(root, at)); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

func TestFileCapabilities(t *testing.T) {
	v2 := "\x01\x00\x00\x02" + "\x00\x34\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	for _, tt := range []struct{ name, attribute, want string }{
		{"none", "", ""},
		{"version 2", v2, "cap_net_bind_service,cap_net_admin,cap_net_raw=ep"},
		{"version 3", "\x00\x00\x00\x03" + v2[4:] + "\x01\x00\x00\x00", "cap_net_bind_service,cap_net_admin,cap_net_raw=p"},
		{"version 1", "\x00\x00\x00\x01" + "\x01\x00\x00\x00" + "\x02\x00\x00\x00", "cap_chown=p cap_dac_override=i"},
		{"high and unknown", "\x00\x00\x00\x02" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00" + "\x80\x00\x00\x80" + "\x00\x00\x00\x00",
			"cap_bpf,63=p"},
		{"short", "\x01", malformedCapabilities},
		{"cut", v2[:16], malformedCapabilities},
		{"of no version", "\x00\x00\x00\x09" + v2[4:], malformedCapabilities},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		h := &tar.Header{Name: "haproxy", Typeflag: tar.TypeReg, Mode: 0o755, Format: tar.FormatPAX}
		if tt.attribute != "" {
			h.PAXRecords = map[string]string{capabilityRecord: tt.attribute}
		}
		if err := errors.Join(w.WriteHeader(h), w.Close()); err != nil {
			t.Fatal(err)
		}
		got := "not seen"
		_, err := readLayer(&b, Limits{}, isHAProxy, func(_ Source, a Attributes, _ io.Reader) error {
			got = a.Capabilities
			return nil
		})
		if err != nil || got != tt.want {
			t.Errorf("%s: got %q (%v), want %q", tt.name, got, err, tt.want)
		}
	}
}
