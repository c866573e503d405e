package imagescan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/report"
)

// TestConfiguration: each report, early or complete, contains its own image's user,
// entry point and command.
func TestConfiguration(t *testing.T) {
	s := newServer(t)
	layers := [][]byte{archive("etc/x", strings.Repeat("x", 100)), archive("haproxy", "v1")}
	for _, tt := range []struct {
		name   string
		config v1.Config
		want   report.Configuration
	}{
		{"root", v1.Config{Cmd: []string{"haproxy", "-W"}}, report.Configuration{Command: []string{"haproxy", "-W"}}},
		{"user", v1.Config{User: "99:99", Entrypoint: []string{"/run"}}, report.Configuration{User: "99:99", Entrypoint: []string{"/run"}}},
		{"too much", v1.Config{User: strings.Repeat("9", 300), Entrypoint: []string{"a", strings.Repeat("b", maxCommandBytes), "c"}},
			report.Configuration{User: strings.Repeat("9", maxUserBytes), Entrypoint: []string{"a"}}},
	} {
		ref := s.push(t, "config/"+strings.ReplaceAll(tt.name, " ", "-")+":x", running(t, tt.config, layers...))
		for _, early := range []bool{false, true} {
			r, err := newScanner(t, s, nil, nil).Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64", Early: early})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&tt.want, r.Configuration); diff != "" {
				t.Errorf("%s, early %v (-want +got):\n%s", tt.name, early, diff)
			}
		}
	}
}

// TestSettings: the visible configuration files that the image's command names are
// parsed, and no others.
func TestSettings(t *testing.T) {
	s := newServer(t)
	read := func(text []byte) (report.Settings, bool) {
		if string(text) == "panic" {
			panic("hostile file")
		}
		return report.Settings{User: strings.Contains(string(text), "user")}, strings.HasPrefix(string(text), "global")
	}
	for _, tt := range []struct {
		name   string
		layers [][]byte
		want   []report.Settings
	}{
		{"plain", [][]byte{archive("etc/x.cfg", "global user")}, []report.Settings{{Path: "/etc/x.cfg", User: true}}},
		{"replaced", [][]byte{archive("etc/x.cfg", "global user"), archive("etc/x.cfg", "global")}, []report.Settings{{Path: "/etc/x.cfg"}}},
		{"removed", [][]byte{archive("etc/x.cfg", "global user"), archive("etc/.wh.x.cfg", "")}, nil},
		{"linked", [][]byte{archive("real/x", "global user"), archive("etc/x.cfg", "->../real/x")},
			[]report.Settings{{Path: "/etc/x.cfg", File: "/real/x", User: true}}},
		{"none", [][]byte{archive("etc/x.cfg", "text")}, nil},
		{"too large", [][]byte{archive("etc/x.cfg", "global"+strings.Repeat(" ", maxText))}, nil},
		{"hostile", [][]byte{archive("etc/x.cfg", "panic")}, nil},
		{"of no interest", [][]byte{archive("etc/y.cfg", "global")}, nil},
	} {
		ref := s.push(t, "settings/"+strings.ReplaceAll(tt.name, " ", "-")+":x",
			running(t, v1.Config{Entrypoint: []string{"haproxy", "-f", "/etc/x.cfg"}}, tt.layers...))
		for range 2 {
			r, err := newScanner(t, s, nil, func(o *setup) { o.Inspector.Settings = read }).Scan(t.Context(),
				Request{Reference: ref, Platform: "linux/arm64"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, r.Settings); diff != "" || len(r.Gaps) > 0 {
				t.Errorf("%s: gaps %v (-want +got):\n%s", tt.name, r.Gaps, diff)
			}
		}
	}
}
