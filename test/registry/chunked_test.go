//go:build integration

package registry

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/test/fixtures"
	"github.com/capvet/capvet/test/harness"
	"github.com/capvet/capvet/test/testimage"
)

// TestZstdChunked: a layer as podman and buildah pack it is read whole, and
// through its table of contents, with the same verdict; the table spares fetching
// the rest.
func TestZstdChunked(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	capvet, err := harness.BuildCommand(t.Context(), root, "capvet", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	executable, err := fixtures.HAProxy30("arm64")
	if err != nil {
		t.Fatal(err)
	}
	build := func(layers ...testimage.Layer) v1.Image {
		image, err := testimage.Build(t.Context(), testimage.Spec{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, Layers: layers})
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	layer := chunked(t, build(testimage.Layer{Files: []testimage.File{
		testimage.Noise("/usr/share/before", 8<<20, 1),
		{Path: testimage.OfficialPath, Mode: 0o755, Data: executable},
		testimage.Noise("/usr/share/behind", 8<<20, 2),
	}}))
	image, err := mutate.Append(build(), layer)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, Options{Dir: t.TempDir()})
	reference, err := name.ParseReference(r.Host() + "/chunked:x")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image); err != nil {
		t.Fatal(err)
	}

	scan := func(more ...string) report.Report {
		t.Helper()
		command := exec.CommandContext(t.Context(), capvet,
			append([]string{"scan", "--output", "json", "--plain-http", r.Host(), reference.Name()}, more...)...)
		output, err := command.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Fatalf("capvet scan %v: %v, %s", more, err, output)
		}
		var reports []report.Report
		if err := json.Unmarshal(output, &reports); err != nil || len(reports) != 1 {
			t.Fatalf("%d reports, %v: %s", len(reports), err, output)
		}
		return reports[0]
	}
	sent := func() int64 {
		t.Helper()
		log, err := os.ReadFile(r.AccessLog())
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, match := range regexp.MustCompile(`(?m)"GET [^"]*" 20\d (\d+) `).FindAllSubmatch(log, -1) {
			n, err := strconv.ParseInt(string(match[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
		return total
	}
	before := sent()
	through := scan("--toc")
	fetched := sent() - before
	if want := []string{digest(t, layer.Layer).String()}; !cmp.Equal(want, through.ThroughTable) {
		t.Errorf("read through tables: %v, want %v", through.ThroughTable, want)
	}
	if fetched == 0 || fetched > 1<<20 {
		t.Errorf("%d bytes were fetched of a layer of 16 MiB that needs the table and a small file", fetched)
	}
	whole := scan()
	if len(whole.Binaries) != 1 || whole.Binaries[0].Capset.ABI != report.ABIV1 {
		t.Errorf("read whole: %+v", whole.Binaries)
	}
	if diff := cmp.Diff(whole.Binaries, through.Binaries); diff != "" {
		t.Errorf("(-whole +through its table):\n%s", diff)
	}
}

// chunked packs an image's layer anew, with the library of podman and buildah.
func chunked(t *testing.T, image v1.Image) mutate.Addendum {
	t.Helper()
	tools := os.Getenv("CAPVET_CHUNKED_TOOLS")
	if tools == "" {
		t.Fatal("CAPVET_CHUNKED_TOOLS is not set: run make test-integration, which builds what it names")
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	packed := filepath.Join(t.TempDir(), "layer")
	command := exec.CommandContext(t.Context(), filepath.Join(tools, "chunked"), packed)
	command.Stdin, command.Stderr = stream, os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	made := mutate.Addendum{}
	if err := json.Unmarshal(output, &made.Annotations); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	content, err := os.ReadFile(packed)
	if err != nil {
		t.Fatal(err)
	}
	made.Layer = static.NewLayer(content, types.OCILayerZStd)
	return made
}
