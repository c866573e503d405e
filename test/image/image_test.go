//go:build image

// Package image tests that the Dockerfile builds, with buildah, to the image
// that tools/image assembles without a container engine: the same files and
// the same configuration, and twice the same bytes.
//
// No base image is pulled: the Dockerfile's builder is replaced by one that is
// made of this machine's Go. Whether the pinned builder is there and sound is
// not tested.
package image

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/capvet/capvet/test/debian"
	"github.com/capvet/capvet/test/harness"
)

const (
	caRoots = "/etc/ssl/certs/ca-certificates.crt"
	version = "v0.0.0-test"
)

// newBuildah returns a buildah with a builder for the architectures. Where that is
// impossible the test is skipped, or fails under CI.
func newBuildah(t *testing.T, architectures []string) *buildah {
	t.Helper()
	err := supported()
	if err == nil {
		err = debian.Tools(t.Context(), map[string]string{"buildah": "buildah", "busybox": "busybox-static"})
	}
	switch {
	case (errors.Is(err, errUnsupported) || errors.Is(err, debian.ErrUnavailable)) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	b := &buildah{
		dir:     t.TempDir(),
		modules: filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download"),
		cache:   goEnv(t, "GOCACHE"),
	}
	if err := b.makeBuilder(t.Context(), goEnv(t, "GOROOT"), caRoots, busybox, architectures); err != nil {
		t.Fatal(err)
	}
	return b
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(value))
}

func TestDockerfile(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	architectures := []string{"amd64", "arm64"}
	b := newBuildah(t, architectures)
	// Other commands have downloaded most of them, but need not have.
	goCommand(t, root, "mod", "download")
	assembled := filepath.Join(t.TempDir(), "assembled")
	goCommand(t, root, "run", "./tools/image", "-output", assembled, "-version", version)
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			want := imageOf(t, assembled, arch)
			var built []v1.Image
			var digests []string
			for i := range 2 {
				dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
				if err := b.build(t.Context(), root, arch, version, dir); err != nil {
					t.Fatal(err)
				}
				image := imageOf(t, dir, arch)
				digest, err := image.Digest()
				if err != nil {
					t.Fatal(err)
				}
				built, digests = append(built, image), append(digests, digest.String())
			}
			if digests[0] != digests[1] {
				t.Errorf("the same sources give %s and then %s", digests[0], digests[1])
			}
			if diff := cmp.Diff(filesOf(t, want), filesOf(t, built[0])); diff != "" {
				t.Errorf("(- tools/image, + Dockerfile) %s", diff)
			}
			if diff := cmp.Diff(configOf(t, want), configOf(t, built[0])); diff != "" {
				t.Errorf("(- tools/image, + Dockerfile) %s", diff)
			}
			t.Logf("linux/%s: %s twice", arch, digests[0])
		})
	}
}

// TestPinned: every image that the Dockerfile starts from is pinned by digest.
func TestPinned(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	images := regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(images) < 2 {
		t.Fatalf("only %d stages", len(images))
	}
	for _, match := range images {
		image := match[1]
		if name, ok := strings.CutPrefix(image, "${"); ok {
			name = strings.TrimSuffix(name, "}")
			if value := regexp.MustCompile(`(?m)^ARG ` + name + `=(\S+)$`).FindStringSubmatch(string(text)); value != nil {
				image = value[1]
			}
		}
		if image != "scratch" && !regexp.MustCompile(`@sha256:[0-9a-f]{64}$`).MatchString(image) {
			t.Errorf("%s is not pinned by digest", image)
		}
	}
}

// goCommand runs go in the repository.
func goCommand(t *testing.T, root string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v: %s", strings.Join(args, " "), err, output)
	}
}

// imageOf returns an OCI layout's image for an architecture.
func imageOf(t *testing.T, dir, arch string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	// tools/image's layout holds an index of images, buildah's an image.
	for _, descriptor := range manifest.Manifests {
		if descriptor.MediaType.IsIndex() {
			if index, err = index.ImageIndex(descriptor.Digest); err != nil {
				t.Fatal(err)
			}
			if manifest, err = index.IndexManifest(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture == arch {
			return image
		}
	}
	t.Fatalf("%s has no image for %s", dir, arch)
	return nil
}

// file holds the properties of a file that matter at run time.
type file struct {
	Type       string
	Mode       int64 // permissions alone: some write the type of file into it as well
	UID, GID   int
	Size       int64
	SHA256     string
	ModifiedAt int64 // in seconds since 1970
}

// filesOf returns an image's files by path.
func filesOf(t *testing.T, image v1.Image) map[string]file {
	t.Helper()
	content := mutate.Extract(image)
	defer content.Close()
	files := map[string]file{}
	reader := tar.NewReader(content)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, reader); err != nil {
			t.Fatal(err)
		}
		files[strings.Trim(header.Name, "/")] = file{
			Type: string(header.Typeflag), Mode: header.Mode & 0o7777, UID: header.Uid, GID: header.Gid, Size: header.Size,
			SHA256: fmt.Sprintf("%x", sum.Sum(nil)), ModifiedAt: header.ModTime.Unix(),
		}
	}
	if len(files) < 9 {
		t.Fatalf("only %d files", len(files))
	}
	return files
}

// configOf returns the parts of an image's configuration that matter at run time.
func configOf(t *testing.T, image v1.Image) any {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.WorkingDir == "/" {
		config.Config.WorkingDir = "" // the default, which some builders write out
	}
	return struct {
		OS, Architecture, Variant string
		Config                    v1.Config
	}{config.OS, config.Architecture, config.Variant, config.Config}
}
