package imagescan

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/report"
)

// TestLibraries: a program that calls through libcap gets the verdict on the image's
// own libcap, in any directory and layer.
func TestLibraries(t *testing.T) {
	s := newServer(t)
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join("..", "elfcaps", "testdata", "bin", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	program, legacy, foreign := read("arm64_uses_libcap_library_O2"), read("arm64_libcap_v1_O2"), read("amd64_libcap_v1_O2")
	const name = "libcap.so.2"
	for i, tt := range []struct {
		name   string
		layers [][]byte
		abi    report.ABI
		want   report.Library
	}{
		{
			"Debian's", [][]byte{
				gzipped(archive("usr/lib/aarch64-linux-gnu/libcap.so.2.75", legacy, "usr/lib/aarch64-linux-gnu/libcap.so.2", "->libcap.so.2.75",
					"lib", "->usr/lib")),
				gzipped(archive("usr/sbin/haproxy", program)),
			},
			report.ABIV1, report.Library{Name: name, Path: "/usr/lib/aarch64-linux-gnu/libcap.so.2.75", ABI: report.ABIV1},
		},
		{
			"Alpine's, in the layer above", [][]byte{
				gzipped(archive("usr/sbin/haproxy", program)),
				gzipped(archive("usr/lib/libcap.so.2", legacy)),
			},
			report.ABIV1, report.Library{Name: name, Path: "/usr/lib/libcap.so.2", ABI: report.ABIV1},
		},
		{
			"removed", [][]byte{
				gzipped(archive("usr/sbin/haproxy", program, "usr/lib/libcap.so.2", legacy)),
				gzipped(archive("usr/lib/.wh.libcap.so.2", "")),
			},
			report.ABILibrary, report.Library{Name: name},
		},
		{
			"of another machine", [][]byte{gzipped(archive("usr/sbin/haproxy", program, "usr/lib/libcap.so.2", foreign))},
			report.ABILibrary, report.Library{Name: name},
		},
		{
			"no ELF file", [][]byte{gzipped(archive("usr/sbin/haproxy", program, "usr/lib/libcap.so.2", "text"))},
			report.ABILibrary, report.Library{Name: name},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ref := s.push(t, fmt.Sprintf("libraries/%d:x", i), imageOf(t, "arm64", tt.layers...))
			r, err := scan(t, newScanner(t, s, nil, func(o *setup) {
				o.Inspector = inspect.Inspector()
			}), ref)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Binaries) != 1 || len(r.Gaps) != 0 {
				t.Fatalf("a library is no binary of interest itself: %+v", r)
			}
			got := r.Binaries[0].Capset
			if got.ABI != tt.abi {
				t.Errorf("judged %s, want %s: %s", got.ABI, tt.abi, got.Reason)
			}
			if diff := cmp.Diff([]report.Library{tt.want}, got.Libraries); diff != "" {
				t.Errorf("libraries (-want +got):\n%s", diff)
			}
		})
	}
}
