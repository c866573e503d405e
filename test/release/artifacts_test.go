//go:build release

package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// manifest holds the fields of a plugin's manifest that krew needs.
type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string `json:"version"`
		Homepage         string `json:"homepage"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Platforms        []struct {
			Selector struct {
				MatchLabels map[string]string `json:"matchLabels"`
			} `json:"selector"`
			URI    string `json:"uri"`
			SHA256 string `json:"sha256"`
			Bin    string `json:"bin"`
		} `json:"platforms"`
	} `json:"spec"`
}

// TestArtifacts: two builds give the same bytes, the sums hold, and the plugin
// that the manifest describes installs and runs.
func TestArtifacts(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	makeTarget(t, first, "release-artifacts")
	makeTarget(t, second, "release-artifacts")
	want, got := folder(t, first), folder(t, second)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a second build differs: %s", diff)
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(readFile(t, first, "SHA256SUMS"))) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			t.Fatalf("SHA256SUMS has %q", line)
		}
		sums[name] = sum
	}
	delete(want, "SHA256SUMS")
	if diff := cmp.Diff(want, sums); diff != "" {
		t.Errorf("(- files, + SHA256SUMS): %s", diff)
	}
	var m manifest
	if err := yaml.UnmarshalStrict(readFile(t, first, "capvet.yaml"), &m); err != nil {
		t.Fatal(err)
	}
	if m.Kind != "Plugin" || m.Metadata.Name != "capvet" || m.Spec.Version != version || len(m.Spec.ShortDescription) > 50 {
		t.Errorf("the manifest is %+v", m)
	}
	platforms := map[string]bool{}
	for _, p := range m.Spec.Platforms {
		name := filepath.Base(p.URI)
		if p.URI != "https://github.com/capvet/capvet/releases/download/"+version+"/"+name || p.SHA256 != sums[name] || p.SHA256 == "" {
			t.Errorf("%s has %s, SHA256SUMS %s", p.URI, p.SHA256, sums[name])
		}
		os, arch := p.Selector.MatchLabels["os"], p.Selector.MatchLabels["arch"]
		platforms[os+"/"+arch] = true
		if os == runtime.GOOS && arch == runtime.GOARCH {
			t.Run("plugin", func(t *testing.T) { plugin(t, filepath.Join(first, name), m.Metadata.Name, p.Bin) })
		}
	}
	if diff := cmp.Diff(map[string]bool{"linux/amd64": true, "linux/arm64": true, "darwin/amd64": true, "darwin/arm64": true},
		platforms); diff != "" {
		t.Errorf("platforms: %s", diff)
	}
}

// plugin installs an archive as krew does, and has kubectl run it.
func plugin(t *testing.T, archive, name, bin string) {
	store, path := t.TempDir(), t.TempDir()
	unpack(t, archive, store)
	if err := os.Symlink(filepath.Join(store, bin), filepath.Join(path, "kubectl-"+name)); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + path + string(os.PathListSeparator) + os.Getenv("PATH")}
	output, err := run(t, store, env, shared.kubectl, name, "--version")
	if err != nil || !strings.Contains(output, version) {
		t.Errorf("kubectl %s --version: %q %v", name, output, err)
	}
	output, err = run(t, store, env, shared.kubectl, name, "inspect", filepath.Join(shared.root, "test", "fixtures", "haproxy30-arm64"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(output, "v1") {
		t.Errorf("kubectl %s inspect: %v %q", name, err, output)
	}
	if output, err := run(t, store, env, shared.kubectl, "plugin", "list"); err != nil || !strings.Contains(output, "kubectl-"+name) {
		t.Errorf("kubectl plugin list: %v %q", err, output)
	}
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(readFile(t, archive)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	reader := tar.NewReader(unzipped)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(header.Name)), content, os.FileMode(header.Mode)); err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	if diff := cmp.Diff([]string{"capvet", "LICENSE"}, names); diff != "" {
		t.Errorf("the archive: %s", diff)
	}
}

// folder returns the SHA-256 of each file of a folder.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, entry := range entries {
		sums[entry.Name()] = fmt.Sprintf("%x", sha256.Sum256(readFile(t, dir, entry.Name())))
	}
	return sums
}

// TestVersionRefused: only a release's version can be stamped.
func TestVersionRefused(t *testing.T) {
	for _, bad := range []string{"dev", "0.1.0", "v1", "v1.2.3-dirty;rm"} {
		_, err := run(t, shared.root, nil, "go", "run", "./tools/artifacts", "-output", t.TempDir(), "-version", bad)
		if err == nil || !strings.Contains(err.Error(), "give one like v1.2.3") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
