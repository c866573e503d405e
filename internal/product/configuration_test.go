package product

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/report"
)

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       report.Settings
		ok         bool
	}{
		{"nothing", "", report.Settings{}, false},
		{"a script", "#!/bin/sh\nexec haproxy -f /x\n", report.Settings{}, false},
		{"one file of several", "frontend f\n  bind :80\n  user x\n", report.Settings{}, true},
		{"neither", "global\n  log stdout\ndefaults\n  user x\n", report.Settings{}, true},
		{"user", "global\n\tuser haproxy\n\tgroup haproxy\n", report.Settings{User: true}, true},
		{"uid", "global\r\n  uid 99\r\n", report.Settings{User: true}, true},
		{"root is no change", "global\n  user root\n  uid 0\n", report.Settings{}, true},
		{"both", "defaults\n  mode http\nglobal # first\n  user \"haproxy\"\n  setcap cap_net_raw,cap_net_admin\nfrontend f\n",
			report.Settings{User: true, SetCap: true}, true},
		{"in another section", "global\nuserlist l\n  user u password p\nbackend setcap\n  setcap x\n", report.Settings{}, true},
		{"again", "global\n  user a\nlisten l\nglobal\n  setcap cap_net_raw\n", report.Settings{User: true, SetCap: true}, true},
		{"commented out", "global\n  #user a\n  # setcap x\n  log x # user a\n", report.Settings{}, true},
		{"quoted and escaped", "global\n  'user' has\\ a\\ blank\n  \"set\"cap x\n", report.Settings{User: true, SetCap: true}, true},
		{"from the environment", "global\n  user \"${WHO}\"\n", report.Settings{User: true}, true},
		{"without a value", "global\n  user\n  setcap\n", report.Settings{}, true},
		{"on a condition", "global\n.if defined(X)\n  user a\n.endif\n", report.Settings{}, false},
		{"binary", "global\n\x00", report.Settings{}, false},
		{"too much", "global\n" + strings.Repeat("#", MaxSettings), report.Settings{}, false},
	} {
		got, ok := Settings([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, ok, diff)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte("global\n  user \"a\\\" b\"\n  setcap 'x\n"))
	f.Add([]byte("global\n  uid 00\n.if\n\\"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, ok := Settings(text)
		if !ok && s != (report.Settings{}) {
			t.Errorf("%+v of what was not read", s)
		}
	})
}

// TestFilesAreBounded: a command line with more files than the limit is one whose files are
// unknown.
func TestFilesAreBounded(t *testing.T) {
	haproxy, _ := Lookup("haproxy")
	for n, want := range map[int]bool{maxFiles: true, maxFiles + 1: false, 10 * maxFiles: false} {
		options := slices.Repeat([]string{"-f", "/x"}, n)
		behind := append([]string{"-f", "/x", "--"}, slices.Repeat([]string{"/x"}, n-1)...)
		for _, words := range [][]string{options, behind} {
			files, ok := haproxy.Configuration.Files(append([]string{"haproxy"}, words...))
			if ok != want || len(files) > maxFiles+1 {
				t.Errorf("%d files: %v, %d", n, ok, len(files))
			}
		}
	}
}
