// Command image assembles capvet's image for linux/amd64 and linux/arm64 as an
// OCI layout, without a container engine. Its content is that of the Dockerfile's
// image: the two programs, CA roots, the same user, entry point and labels. The
// same sources and CA roots give the same digests.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// caRoots is the path of the CA roots, on this machine and in the image.
const caRoots = "/etc/ssl/certs/ca-certificates.crt"

func main() {
	output := flag.String("output", "bin/image", "`folder` of the OCI layout; replaced")
	version := flag.String("version", "dev", "version to stamp")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	digest, err := run(ctx, *output, *version)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	fmt.Printf("%s@%s\n", *output, digest)
}

func run(ctx context.Context, output, version string) (v1.Hash, error) {
	work, err := os.MkdirTemp("", "capvet-image-")
	if err != nil {
		return v1.Hash{}, err
	}
	defer os.RemoveAll(work)
	roots, err := os.ReadFile(caRoots)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("no CA roots on this machine (install ca-certificates): %w", err)
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		dir := filepath.Join(work, arch)
		//nolint:gosec // the version is the command line's own
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o",
			dir+"/", "./cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if text, err := build.CombinedOutput(); err != nil {
			return v1.Hash{}, errors.Join(fmt.Errorf("building for %s: %w", arch, err), errors.New(string(text)))
		}
		programs := []file{}
		for _, name := range []string{"webhook", "capvet"} {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return v1.Hash{}, err
			}
			programs = append(programs, file{"/usr/local/bin/" + name, 0o755, content})
		}
		image, err := assemble(arch, version, []file{{caRoots, 0o644, roots}}, programs)
		if err != nil {
			return v1.Hash{}, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	if err := os.RemoveAll(output); err != nil {
		return v1.Hash{}, err
	}
	if _, err := layout.Write(output, index); err != nil {
		return v1.Hash{}, fmt.Errorf("writing %s: %w", output, err)
	}
	return index.Digest()
}

// file is one file of a layer.
type file struct {
	path    string
	mode    int64
	content []byte
}

// assemble makes the image of one architecture with a layer for each list.
func assemble(arch, version string, layers ...[]file) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: config(version)})
	if err != nil {
		return nil, err
	}
	for _, files := range layers {
		content, err := pack(files)
		if err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
			tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// config returns the configuration of the Dockerfile's last stage.
func config(version string) v1.Config {
	return v1.Config{
		User: "65532:65532",
		// Builders' default for images from scratch.
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Entrypoint: []string{"/usr/local/bin/webhook"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "capvet",
			"org.opencontainers.image.description": "Admission webhook that finds legacy 32-bit capability calls in images",
			"org.opencontainers.image.source":      "https://github.com/capvet/capvet",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     version,
		},
	}
}

// pack writes files and their directories as a tar, without users or times of this
// machine.
func pack(files []file) ([]byte, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	made := map[string]bool{"/": true}
	var mkdir func(dir string) error
	mkdir = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := mkdir(path.Dir(dir)); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
	}
	for _, f := range files {
		if err := mkdir(path.Dir(f.path)); err != nil {
			return nil, err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path[1:], Mode: f.mode, Size: int64(len(f.content)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
