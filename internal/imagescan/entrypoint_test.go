package imagescan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/report"
)

// TestConfiguration: the report says how the image is run, an early one as well,
// for each image that shares its layers.
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
			report.Configuration{User: strings.Repeat("9", maxUser), Entrypoint: []string{"a"}}},
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
