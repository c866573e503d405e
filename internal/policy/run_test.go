package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// TestSettledTrigger is the whole truth table of HAProxy's calls under a known
// configuration: who starts it, what global has, and whether the version asks
// for its capabilities at the start.
func TestSettledTrigger(t *testing.T) {
	const start, conditional = whenStart, whenConditional
	for _, tt := range []struct {
		base         report.When
		user         User
		hasUser, cap bool
		want         report.When
	}{
		{start, UserNonRoot, false, false, start},
		{start, UserNonRoot, false, true, start},
		{start, UserNonRoot, true, false, conditional},
		{start, UserNonRoot, true, true, conditional},
		{start, UserRoot, false, false, conditional},
		{start, UserRoot, false, true, conditional},
		{start, UserRoot, true, false, conditional},
		{start, UserRoot, true, true, start},
		{conditional, UserNonRoot, false, false, conditional},
		{conditional, UserNonRoot, false, true, conditional},
		{conditional, UserNonRoot, true, false, conditional},
		{conditional, UserNonRoot, true, true, conditional},
		{conditional, UserRoot, false, false, conditional},
		{conditional, UserRoot, false, true, conditional},
		{conditional, UserRoot, true, false, conditional},
		{conditional, UserRoot, true, true, start},
	} {
		image := &report.Report{Configuration: says("", "haproxy", "-f", "/x.cfg"), Settings: []report.Settings{{Path: "/x.cfg",
			User: tt.hasUser, SetCap: tt.cap}}}
		got := newProcess(Run{User: tt.user}, image).assess(triggered("haproxy", tt.base)).trigger
		never := tt.base == conditional && tt.user == UserNonRoot
		if got.When != tt.want || strings.Contains(got.Why, "`global` of /x.cfg has") == never ||
			strings.Contains(got.Why, "does not make this call") != (tt.want == conditional && !never) {
			t.Errorf("%+v: got %+v", tt, got)
		}
		// The image's user counts where the Pod has none.
		if tt.user == UserNonRoot {
			image.Configuration.User = "99"
		}
		if got := newProcess(Run{}, image).assess(triggered("haproxy", tt.base)).trigger; got.When != tt.want || !strings.Contains(got.Why,
			"(the image's user)") {
			t.Errorf("%+v, by the image: got %+v", tt, got)
		}
	}
}

// TestSettings: a configuration counts where it is the one that runs.
func TestSettings(t *testing.T) {
	a := report.Settings{Path: "/etc/a.cfg"}
	user := report.Settings{Path: "/etc/user.cfg", File: "/real/user.cfg", User: true}
	setcap := report.Settings{Path: "/etc/cap.cfg", SetCap: true}
	for _, tt := range []struct {
		name  string
		run   Run
		image []string // words of its entry point
		want  string   // the known settings; empty: unknown
	}{
		{"the image's", Run{}, []string{"haproxy", "-f", "/etc/a.cfg"}, "/etc/a.cfg false false"},
		{"of its CMD", Run{}, []string{"docker-entrypoint.sh", "--", "haproxy", "-W", "-f", "/etc/user.cfg"}, "/etc/user.cfg true false"},
		{"several", Run{}, []string{"haproxy", "-f", "/etc/a.cfg", "-f", "/etc/user.cfg", "-f", "/etc/cap.cfg"}, "/etc/a.cfg true true"},
		{"behind --", Run{Command: []string{"haproxy", "-f", "/etc/a.cfg", "--", "/etc/user.cfg"}}, nil, "/etc/a.cfg true false"},
		{"the Pod's command names it", Run{Command: []string{"haproxy", "-f", "/etc/user.cfg"}}, []string{"haproxy", "-f",
			"/etc/a.cfg"}, "/etc/user.cfg true false"},
		{"the Pod's arguments name it", Run{Args: []string{"-f", "/etc/user.cfg"}}, []string{"haproxy"}, "/etc/user.cfg true false"},
		{"not clean", Run{Command: []string{"haproxy", "-f", "/etc//a.cfg"}}, nil, "/etc//a.cfg false false"},
		{"another", Run{Args: []string{"-f", "/etc/b.cfg"}}, []string{"haproxy", "--", "-f", "/etc/a.cfg"}, ""},
		{"one of two", Run{Args: []string{"-f", "/etc/a.cfg", "-f", "/etc/b.cfg"}}, []string{"haproxy"}, ""},
		{"none", Run{}, []string{"haproxy"}, ""},
		{"in a script", Run{Command: []string{"sh", "-c", "haproxy -f /etc/a.cfg"}}, nil, ""},
		{"relative", Run{Command: []string{"haproxy", "-f", "etc/a.cfg"}}, nil, ""},
		{"relative behind --", Run{Command: []string{"haproxy", "--", "etc/a.cfg"}}, nil, ""},
		{"without a value", Run{Command: []string{"haproxy", "-f"}}, nil, ""},
		{"elsewhere", Run{Command: []string{"haproxy", "-C", "/x", "-f", "/etc/a.cfg"}}, nil, ""},
		{"below a volume", Run{Mounts: []string{"/etc/"}}, []string{"haproxy", "-f", "/etc/a.cfg"}, ""},
		{"below a volume of one file", Run{Mounts: []string{"/etc/a.cfg"}}, []string{"haproxy", "-f", "/etc/a.cfg"}, ""},
		{"below a volume at the root", Run{Mounts: []string{"/"}}, []string{"haproxy", "-f", "/etc/a.cfg"}, ""},
		{"where its link leads, below a volume", Run{Mounts: []string{"/real"}}, []string{"haproxy", "-f", "/etc/user.cfg"}, ""},
		{"in a volume that was read", Run{Mounts: []string{"/etc"}, Mounted: []report.Settings{{Path: "/etc/a.cfg", User: true}}},
			[]string{"haproxy", "-f", "/etc/a.cfg"}, "/etc/a.cfg true false"},
		{"one in a volume, one in the image", Run{Mounts: []string{"/v"}, Mounted: []report.Settings{{Path: "/v/b.cfg", User: true}}},
			[]string{"haproxy", "-f", "/v/b.cfg", "-f", "/etc/cap.cfg"}, "/v/b.cfg true true"},
		{"a volume that was read is none", Run{Mounted: []report.Settings{{Path: "/v/b.cfg", User: true}}}, []string{"haproxy", "-f",
			"/v/b.cfg"}, ""},
		{"beside a volume", Run{Mounts: []string{"/etc/a", "/var"}}, []string{"haproxy", "-f", "/etc/a.cfg"}, "/etc/a.cfg false false"},
	} {
		image := &report.Report{Configuration: says("", tt.image...), Settings: []report.Settings{a, user, setcap}}
		got := ""
		if s, ok := tt.run.settings(configurationOf(t, "haproxy"), image); ok {
			got = fmt.Sprint(s.Path, " ", s.User, " ", s.SetCap)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	image := &report.Report{Configuration: says("", "nginx", "-f", "/etc/a.cfg"), Settings: []report.Settings{a}}
	if _, ok := (Run{}).settings(configurationOf(t, "nginx"), image); ok {
		t.Error("HAProxy's settings hold for nginx")
	}
}

func configurationOf(t *testing.T, name string) *product.Configuration {
	t.Helper()
	p, ok := product.Lookup(name)
	if !ok {
		t.Fatalf("no product %s", name)
	}
	return p.Configuration
}

// TestMountedFiles: files in volumes are wanted only for legacy calls of a product whose
// configuration decides.
func TestMountedFiles(t *testing.T) {
	run := Run{Mounts: []string{"/etc"}, Command: []string{"haproxy", "-f", "/etc//a.cfg", "-f", "/b.cfg"}}
	with := func(b *report.Binary) Image {
		return Image{Run: run, Report: &report.Report{Binaries: []report.Binary{*b}}}
	}
	fixed := triggered("haproxy", report.WhenStart)
	fixed.Capset.ABI = report.ABIV3
	for name, tt := range map[string]struct {
		image Image
		want  int
	}{
		"legacy": {with(triggered("haproxy", report.WhenStart)), 1}, "fixed": {with(fixed), 0},
		"another product": {with(triggered("nginx", report.WhenConditional)), 0}, "not read": {Image{Run: run}, 0},
	} {
		if got := tt.image.MountedFiles(); len(got) != tt.want || tt.want > 0 && got[0] != "/etc/a.cfg" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
