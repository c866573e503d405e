package imagefs

import (
	"testing"
)

func TestLookup(t *testing.T) {
	tests := []struct {
		name   string
		layers [][]entry
		path   string
		want   string // path=content, empty: not there
	}{
		{"top wins", [][]entry{{file("haproxy", "old")}, {file("haproxy", "new")}}, "/haproxy", "/haproxy=new"},
		{"untouched above", [][]entry{{file("haproxy", "a")}, {file("other", "")}}, "/haproxy", "/haproxy=a"},
		{"whiteout", [][]entry{{file("sbin/haproxy", "a")}, {whiteoutFile("sbin/", "haproxy")}}, "/sbin/haproxy", ""},
		{"whiteout of a parent", [][]entry{{file("usr/sbin/haproxy", "a")}, {whiteoutFile("", "usr")}}, "/usr/sbin/haproxy", ""},
		{"whiteout, then added in the same layer", [][]entry{{file("haproxy", "old")}, {whiteoutFile("", "haproxy"), file("haproxy", "new")}},
			"/haproxy", "/haproxy=new"},
		{"added, then whiteout in the same layer", [][]entry{{file("haproxy", "old")}, {file("haproxy", "new"), whiteoutFile("", "haproxy")}},
			"/haproxy", "/haproxy=new"},
		{"whiteout, then added above", [][]entry{{file("haproxy", "1")}, {whiteoutFile("", "haproxy")}, {file("haproxy", "3")}}, "/haproxy",
			"/haproxy=3"},
		{"opaque", [][]entry{{file("d/haproxy", "a")}, {opaque("d/"), file("d/other", "")}}, "/d/haproxy", ""},
		{"opaque at the end of its layer", [][]entry{{file("d/haproxy", "old")}, {file("d/haproxy", "new"), opaque("d/")}}, "/d/haproxy",
			"/d/haproxy=new"},
		{"opaque root", [][]entry{{file("haproxy", "a")}, {opaque("")}}, "/haproxy", ""},
		{"last duplicate", [][]entry{{file("haproxy", "1"), file("haproxy", "2")}}, "/haproxy", "/haproxy=2"},
		{"absolute link", [][]entry{{file("opt/x", "a"), symlink("sbin/haproxy", "/opt/x")}}, "/sbin/haproxy", "/opt/x=a"},
		{"relative link", [][]entry{{file("opt/x", "a"), symlink("usr/sbin/haproxy", "../../opt/x")}}, "/usr/sbin/haproxy", "/opt/x=a"},
		{"link across layers", [][]entry{{file("opt/x", "a")}, {symlink("haproxy", "opt/x")}}, "/haproxy", "/opt/x=a"},
		{"link to what changes above", [][]entry{{file("x", "old"), symlink("haproxy", "x")}, {file("x", "new")}}, "/haproxy", "/x=new"},
		{"chain", [][]entry{{file("c", "a"), symlink("b", "c"), symlink("haproxy", "b")}}, "/haproxy", "/c=a"},
		{"directory link", [][]entry{{symlink("bin", "usr/bin"), file("usr/bin/haproxy", "a")}}, "/bin/haproxy", "/usr/bin/haproxy=a"},
		{"parent of a link's target", [][]entry{{file("usr/x/haproxy", "a"), symlink("l", "usr/bin/deep"), dir("usr/bin/deep"),
			symlink("m", "l/../../x/haproxy")}}, "/m", "/usr/x/haproxy=a"},
		{"out of the root", [][]entry{{file("x", "a"), symlink("haproxy", "../../../x")}}, "/haproxy", "/x=a"},
		{"loop", [][]entry{{symlink("haproxy", "b"), symlink("b", "haproxy")}}, "/haproxy", ""},
		{"dangling", [][]entry{{symlink("haproxy", "nowhere")}}, "/haproxy", ""},
		{"directory", [][]entry{{dir("haproxy")}}, "/haproxy", ""},
		{"a directory takes a file's place", [][]entry{{file("haproxy", "a")}, {dir("haproxy")}}, "/haproxy", ""},
		{"a file takes a directory's place", [][]entry{{file("d/haproxy", "a")}, {file("d", "b")}}, "/d/haproxy", ""},
		{"and back", [][]entry{{file("d/haproxy", "a")}, {file("d", "b")}, {dir("d"), file("d/haproxy", "c")}}, "/d/haproxy", "/d/haproxy=c"},
		{"and back, empty", [][]entry{{file("d/haproxy", "a")}, {file("d", "b")}, {dir("d")}}, "/d/haproxy", ""},
		{"what lies below takes a file's place", [][]entry{{file("haproxy", "a")}, {file("haproxy/x", "b")}}, "/haproxy", ""},
		{"what lies below takes a hard link's place", [][]entry{{file("x", "a"), hardlink("haproxy", "x")}, {file("haproxy/b/x", "b")}},
			"/haproxy", ""},
		{"what lies below a file", [][]entry{{file("d", "a")}, {file("d/haproxy", "b")}}, "/d/haproxy", "/d/haproxy=b"},
		{"a whiteout below a file leaves it", [][]entry{{file("haproxy", "a")}, {whiteoutFile("haproxy/", "x")}}, "/haproxy", "/haproxy=a"},
		{"a link into what became a directory", [][]entry{{file("x", "a"), symlink("haproxy", "x")}, {file("x/y", "b")}}, "/haproxy", ""},
		{"a directory keeps what is in it", [][]entry{{file("d/haproxy", "a")}, {dir("d")}}, "/d/haproxy", "/d/haproxy=a"},
		{"a link takes a directory's place", [][]entry{{file("d/haproxy", "a"), file("e/haproxy", "b")}, {symlink("d", "e")}}, "/d/haproxy",
			"/e/haproxy=b"},
		{"hard link", [][]entry{{file("x", "a"), hardlink("haproxy", "x")}}, "/haproxy", "/haproxy=a"},
		{"hard link to what comes later", [][]entry{{hardlink("haproxy", "x"), file("x", "a")}}, "/haproxy", "/haproxy=a"},
		{"hard link into a lower layer", [][]entry{{file("x", "a")}, {hardlink("haproxy", "x")}}, "/haproxy", "/haproxy=a"},
		{"hard link, target replaced above", [][]entry{{file("x", "a"), hardlink("haproxy", "x")}, {file("x", "b")}}, "/haproxy", "/haproxy=a"},
		{"hard link, target removed above", [][]entry{{file("x", "a"), hardlink("haproxy", "x")}, {whiteoutFile("", "x")}}, "/haproxy",
			"/haproxy=a"},
		{"hard link to nothing", [][]entry{{hardlink("haproxy", "x")}}, "/haproxy", ""},
		{"hard link to itself", [][]entry{{hardlink("haproxy", "haproxy")}}, "/haproxy", ""},
		{"hard links in a circle", [][]entry{{hardlink("haproxy", "b"), hardlink("b", "haproxy")}}, "/haproxy", ""},
		{"below a link of a lower layer", [][]entry{{symlink("bin", "usr/bin")}, {file("bin/haproxy", "a")}}, "/bin/haproxy", "/bin/haproxy=a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var layers []*Layer
			var contents []map[Source]string
			for _, entries := range tt.layers {
				l, c := layer(t, entries...)
				layers, contents = append(layers, l), append(contents, c)
			}
			got := ""
			if f, ok := NewTree(layers, NewSteps(DefaultSteps)).Lookup(tt.path); ok {
				got = f.Path + "=" + contents[f.Layer][f.Source]
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// FuzzReadLayer: reading any bytes ends with a layer or one of the package's errors,
// and look-ups in it end.
func FuzzReadLayer(f *testing.F) {
	data := archive(f, dir("usr/"), file("usr/sbin/haproxy", "a"), symlink("bin", "usr/bin"), hardlink("haproxy", "usr/sbin/haproxy"),
		opaque("usr/"), whiteoutFile("", "bin"))
	f.Add(data)
	f.Add(packGzip(data))
	f.Add(packZstd(data))
	f.Add(archive(f, symlink("haproxy", "b/../haproxy"), symlink("b", "/")))
	f.Fuzz(func(t *testing.T, packed []byte) { fuzzOne(t, packed) })
}
