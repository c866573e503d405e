//go:build corpus

package testimage

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestFromDebian builds images from Debian's own packages.
func TestFromDebian(t *testing.T) {
	h := HAProxy{Line: "3.0", Arch: "arm64"}
	spec, origin, err := h.Distribution(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if origin.Fallback != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(origin.Fallback)
		}
		t.Skip(origin.Fallback)
	}
	if !strings.HasPrefix(origin.Version, "3.0.") {
		t.Errorf("version %s", origin.Version)
	}
	image := build(t, spec)
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"usr/lib/os-release", "usr/sbin/haproxy"} {
		if got := entries(t, layers[i]); !slices.Contains(got, want) {
			t.Errorf("layer %d has no %s: %v", i, want, got)
		}
	}
	first, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := build(t, spec).Digest(); err != nil || first != second {
		t.Errorf("%s then %s, %v", first, second, err)
	}
}
