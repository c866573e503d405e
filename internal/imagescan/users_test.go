package imagescan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestUserByName: the image's own, visible passwd(5) resolves a USER that is a name,
// with cached layers too.
func TestUserByName(t *testing.T) {
	s := newServer(t)
	known := newScanner(t, s, nil, nil)
	const debian = "root:x:0:0:root:/root:/bin/bash\nhaproxy:x:99:99::/var/lib/haproxy:/bin/false\n"
	uid := func(n int64) *int64 { return &n }
	for _, tt := range []struct {
		name, user string
		layers     [][]byte
		want       *int64
	}{
		{"plain", "haproxy", [][]byte{archive("etc/passwd", debian)}, uid(99)},
		{"with a group", "haproxy:root", [][]byte{archive("etc/passwd", debian)}, uid(99)},
		{"root", "root", [][]byte{archive("etc/passwd", debian)}, uid(0)},
		{"another name of root", "toor", [][]byte{archive("etc/passwd", debian+"toor:x:0:0::/:/bin/sh")}, uid(0)},
		{"a number", "99", [][]byte{archive("etc/passwd", debian)}, nil},
		{"nobody", "", [][]byte{archive("etc/passwd", debian)}, nil},
		{"not there", "lb", [][]byte{archive("etc/passwd", debian)}, nil},
		{"no file", "haproxy", [][]byte{archive("etc/group", debian)}, nil},
		{"replaced", "haproxy", [][]byte{archive("etc/passwd", debian), archive("etc/passwd", "haproxy:x:0:0::/:")}, uid(0)},
		{"removed", "haproxy", [][]byte{archive("etc/passwd", debian), archive("etc/.wh.passwd", "")}, nil},
		{"a link", "haproxy", [][]byte{archive("x/passwd", debian), archive("etc/passwd", "->../x/passwd")}, nil},
		{"the first line holds", "haproxy", [][]byte{archive("etc/passwd", "haproxy:x:0:0::/:\n"+debian)}, uid(0)},
		{"what is no number is root", "haproxy", [][]byte{archive("etc/passwd", "haproxy:x:many:0::/:")}, uid(0)},
		{"cut short", "haproxy", [][]byte{archive("etc/passwd", "haproxy")}, uid(0)},
		{"too large", "haproxy", [][]byte{archive("etc/passwd", debian+strings.Repeat("\n", maxText))}, nil},
		{"too many", "last", [][]byte{archive("etc/passwd", manyUsers(maxUsers)+"last:x:7:7::/:")}, nil},
		{"the last that is known", "last", [][]byte{archive("etc/passwd", manyUsers(maxUsers-1)+"last:x:7:7::/:")}, uid(7)},
	} {
		layers := append([][]byte{archive("haproxy", "v3")}, tt.layers...)
		ref := s.push(t, "user/"+strings.ReplaceAll(tt.name, " ", "-")+":x",
			running(t, v1.Config{User: tt.user, Cmd: []string{"haproxy"}}, layers...))
		for _, scanner := range []*Scanner{newScanner(t, s, nil, nil), known} {
			r, err := scanner.Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, r.Configuration.UID); diff != "" || len(r.Gaps) > 0 || len(r.Binaries) != 1 {
				t.Errorf("%s: gaps %v, %d binaries (-want +got):\n%s", tt.name, r.Gaps, len(r.Binaries), diff)
			}
		}
	}
}

func manyUsers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "user%d:x:%d:0::/:\n", i, i+1)
	}
	return b.String()
}
