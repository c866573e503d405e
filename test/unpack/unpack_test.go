//go:build integration

package unpack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/imagefs"
)

// unpacker returns the program that writes layers out, or ends the test: it has
// to be root's, for owners, devices and the look from inside.
func unpacker(t *testing.T) string {
	t.Helper()
	tools := os.Getenv("CAPVET_UNPACK_TOOLS")
	why := ""
	switch {
	case os.Geteuid() != 0:
		why = "unpacking needs root"
	case tools == "":
		why = "CAPVET_UNPACK_TOOLS is not set: run make test-integration, which builds what it names"
	}
	if why != "" && os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	if why != "" {
		t.Skip(why)
	}
	return filepath.Join(tools, "unpack")
}

// stack writes layers out as files, and reads them as capvet does.
func stack(t *testing.T, dir string, layers [][]Entry) (files []string, held map[string]string) {
	t.Helper()
	var read []*imagefs.Layer
	var contents []map[imagefs.Source]string
	for i, entries := range layers {
		stream, err := Tar(entries)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprintf("%d.tar", i))
		if err := os.WriteFile(file, stream, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		content := map[imagefs.Source]string{}
		layer, err := imagefs.ReadLayer(bytes.NewReader(stream), imagefs.Limits{}, imagefs.Selection{
			Wanted: func(string) bool { return true },
			Visit: func(at imagefs.Source, _ imagefs.Attributes, r io.Reader) error {
				text, err := io.ReadAll(r)
				content[at] = string(text)
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		read, contents = append(read, layer), append(contents, content)
	}
	tree := imagefs.NewTree(read, imagefs.NewSteps(imagefs.DefaultSteps))
	held = map[string]string{}
	for _, name := range Paths() {
		if f, ok := tree.Lookup(name); ok {
			held[name] = contents[f.Layer][f.Source]
		}
	}
	return files, held
}

// unpacked returns the files that an unpacker writes for layers.
func unpacked(t *testing.T, program, with, paths string, files []string) (map[string]string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, append([]string{with, t.TempDir(), paths}, files...)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	held := map[string]string{}
	return held, json.Unmarshal(output, &held)
}

// TestLikeRealUnpackers: for every stack of layers that a real unpacker accepts,
// capvet finds the same content at every path.
func TestLikeRealUnpackers(t *testing.T) {
	program := unpacker(t)
	dir := t.TempDir()
	paths := filepath.Join(dir, "paths")
	if err := os.WriteFile(paths, []byte(strings.Join(Paths(), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	compared, found, refused := map[string]int{}, map[string]int{}, map[string]int{}
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 3))
		var layers [][]Entry
		for range 1 + r.IntN(4) {
			layers = append(layers, Random(r, layers))
		}
		files, got := stack(t, dir, layers)
		if ThroughLink(layers) {
			continue
		}
		for _, with := range []string{"containerd", "umoci"} {
			if with == "containerd" && slices.ContainsFunc(layers, RemovesItsOwn) {
				continue
			}
			want, err := unpacked(t, program, with, paths, files)
			if err != nil { // such an image cannot run
				refused[with]++
				t.Logf("seed %d: %v", seed, err)
				continue
			}
			compared[with]++
			found[with] += len(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d (-%s +capvet):\n%s\nof %v", seed, with, diff, layers)
			}
		}
	}
	t.Logf("stacks compared %v, files found %v, stacks refused %v", compared, found, refused)
	for _, with := range []string{"containerd", "umoci"} {
		if compared[with] < 100 || found[with] < 300 {
			t.Errorf("%s: %d stacks were compared, with %d files: too few to prove anything", with, compared[with], found[with])
		}
	}
}
