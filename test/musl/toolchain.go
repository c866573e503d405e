package musl

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/capvet/capvet/test/debian"
)

// suite is where musl and the kernel's headers come from, whatever the suite of
// HAProxy's source.
const suite = "trixie"

// Names of the arm64 compiler's programs in Debian's package, and of the wrapper
// that compiles with musl.
const (
	compiler = "aarch64-linux-gnu-gcc"
	strip    = "aarch64-linux-gnu-strip"
	wrapped  = "musl-gcc"
)

// Where Debian's package of musl has its files, its own specs included.
const (
	libraries = "/usr/lib/aarch64-linux-musl"
	headers   = "/usr/include/aarch64-linux-musl"
)

// toolchain is a compiler for arm64 and the packages that make it one for musl.
type toolchain struct {
	packages []string // paths of .deb files
	// identity changes with every change of the compiler's output.
	identity string
}

func newToolchain(ctx context.Context) (*toolchain, error) {
	err := debian.Tools(ctx, map[string]string{
		compiler: "gcc-aarch64-linux-gnu", strip: "binutils-aarch64-linux-gnu", "make": "make", "tar": "tar",
	})
	if err != nil {
		return nil, err
	}
	release, err := exec.CommandContext(ctx, compiler, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", compiler, err)
	}
	names := []string{"musl", "musl-dev", "linux-libc-dev"}
	fetched, err := debian.Fetch(ctx, debian.Request{Suite: suite, Arch: "arm64", Packages: names})
	if err != nil {
		return nil, err
	}
	t := &toolchain{identity: string(release)}
	for _, name := range names {
		t.packages = append(t.packages, fetched[name].Path)
		t.identity += name + " " + fetched[name].Version + "\n"
	}
	return t, nil
}

// wrapper runs the compiler with musl. The kernel's headers come last, for the
// headers that musl lacks.
const wrapper = `#!/bin/sh
exec %[1]s "$@" -specs '%[2]s/musl.specs' -isystem '%[2]s/usr/include' -isystem '%[2]s/usr/include/aarch64-linux-gnu'
`

// install unpacks the packages into dir and returns the folder of the wrapper.
// The specs of the package name absolute paths.
func (t *toolchain) install(ctx context.Context, dir string) (string, error) {
	for _, deb := range t.packages {
		if err := debian.Unpack(ctx, deb, dir); err != nil {
			return "", err
		}
	}
	specs, err := os.ReadFile(filepath.Join(dir, libraries, "musl-gcc.specs"))
	if err != nil {
		return "", fmt.Errorf("the specs of Debian's musl-dev: %w", err)
	}
	moved := strings.NewReplacer(libraries, dir+libraries, headers, dir+headers).Replace(string(specs))
	if err := os.WriteFile(filepath.Join(dir, "musl.specs"), []byte(moved), 0o644); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, wrapped), fmt.Appendf(nil, wrapper, compiler, dir), 0o755)
}
