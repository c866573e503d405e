package imagescan

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/capvet/capvet/internal/report"
)

// TestLayoutOfSeveral: a layout of several images needs a name or digest.
func TestLayoutOfSeveral(t *testing.T) {
	one := imageOf(t, "arm64", gzipped(archive("haproxy", "one")))
	two := imageOf(t, "arm64", gzipped(archive("haproxy", "two")))
	other := imageOf(t, "amd64", gzipped(archive("haproxy", "other")))
	digest, err := two.Digest()
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string, image v1.Image) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Annotations: map[string]string{annotationName: name}}}
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, named("one", one), named("two", two), named("other", other),
		named("again", one))); err != nil {
		t.Fatal(err)
	}
	scanner := newScanner(t, nil, nil, nil)
	for _, tt := range []struct {
		which string
		want  []string
		err   string // part of it
	}{
		{"", nil, "several images"},
		{":one", []string{"/haproxy=one"}, ""},
		{":two", []string{"/haproxy=two"}, ""},
		{"@" + digest.String(), []string{"/haproxy=two"}, ""},
		{":again", []string{"/haproxy=one"}, ""},
		{":other", []string{"gap " + report.GapNoPlatform}, ""},
		{":none", nil, "no image none"},
	} {
		r, err := scanner.ScanAny(t.Context(), Request{Reference: "oci:" + dir + tt.which, Platform: "linux/arm64"})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: got %v, %v", tt.which, binaries(r), err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, binaries(r)); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", tt.which, err, diff)
		}
	}
}
