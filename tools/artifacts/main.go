// Command artifacts builds a release's downloads: the command line as an archive
// for each platform, SHA256SUMS, and krew's manifest of the kubectl plugin. The
// same sources, version and Go release give the same bytes.
//
// It publishes nothing. The test runs only the program for its own platform.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// platform is an archive's platform, in Go's names.
type platform struct{ os, arch string }

// archive is a finished archive.
type archive struct {
	platform platform
	name     string
	sha256   string
}

func main() {
	output := flag.String("output", "dist", "`folder` to write to; files of the same name are replaced")
	version := flag.String("version", "", "version to stamp, such as v1.2.3")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *output, *version); err != nil {
		fmt.Fprintln(os.Stderr, "artifacts:", err)
		os.Exit(1)
	}
}

// semantic matches the versions that krew accepts.
var semantic = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func run(ctx context.Context, output, version string) error {
	if !semantic.MatchString(version) {
		return fmt.Errorf("version %q: give one like v1.2.3 or v1.2.3-rc.1", version)
	}
	if err := os.MkdirAll(output, 0o750); err != nil {
		return err
	}
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return fmt.Errorf("reading the license (is the working directory the repository's root?): %w", err)
	}
	var archives []archive
	var sums strings.Builder
	for _, p := range []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}} {
		program, err := build(ctx, p, version)
		if err != nil {
			return err
		}
		content, err := pack(program, license)
		if err != nil {
			return fmt.Errorf("packing for %s/%s: %w", p.os, p.arch, err)
		}
		a := archive{p, fmt.Sprintf("capvet_%s_%s_%s.tar.gz", version, p.os, p.arch), fmt.Sprintf("%x", sha256.Sum256(content))}
		if err := write(output, a.name, content); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", a.sha256, a.name)
		archives = append(archives, a)
	}
	manifest, err := krewManifest(version, archives)
	if err != nil {
		return err
	}
	fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(manifest), krewFile)
	return errors.Join(write(output, krewFile, manifest), write(output, "SHA256SUMS", []byte(sums.String())))
}

// write writes a file that every user may read.
func write(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil { //nolint:gosec // for everybody to download
		return err
	}
	fmt.Println(path)
	return nil
}

// build returns the command line built for a platform.
func build(ctx context.Context, p platform, version string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "capvet-artifacts-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "capvet")
	//nolint:gosec // the version was checked
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o",
		binary, "./cmd/capvet")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)
	if text, err := command.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("building for %s/%s: %w", p.os, p.arch, err), errors.New(string(text)))
	}
	return os.ReadFile(binary)
}

// pack returns a gzipped tar of the program and its license, without users, times
// or paths of this machine.
func pack(program, license []byte) ([]byte, error) {
	var packed bytes.Buffer
	compressed := gzip.NewWriter(&packed)
	w := tar.NewWriter(compressed)
	for _, f := range []struct {
		name    string
		mode    int64
		content []byte
	}{{"capvet", 0o755, program}, {"LICENSE", 0o644, license}} {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), compressed.Close()); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
