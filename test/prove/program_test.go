//go:build prove

package prove

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/test/debian"
	"github.com/capvet/capvet/test/fixtures"
	"github.com/capvet/capvet/test/musl"
)

// program is an executable in a root of its own, and capvet's verdict on it.
type program struct {
	name    string // for a person
	root    string // a folder with its libraries, readable by all
	path    string // in root
	verdict report.Binary
}

// staging is a folder that every user can read; t.TempDir is its owner's alone.
func staging(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "capvet-prove-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// unpack makes a root folder of packages. As on Debian, links such as /lib lead to
// their files under /usr.
func unpack(t *testing.T, packages map[string]debian.Package) string {
	t.Helper()
	root := staging(t)
	for _, p := range packages {
		if err := debian.Unpack(t.Context(), p.Path, root); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"lib", "lib64", "sbin"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", name), 0o755); err != nil {
			t.Fatal(err)
		}
		// Older packages have folders of their own there.
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// fromDebian is a package's executable with the libraries that the package
// depends on.
func fromDebian(t *testing.T, suite, arch, name, path string) program {
	t.Helper()
	packages := libraries(t, suite, arch, name)
	return judged(t, name+" "+packages[name].Version+" "+arch, unpack(t, packages), path)
}

// fromMusl is one of a build's executables with musl's loader.
func fromMusl(t *testing.T, name, executable string) program {
	t.Helper()
	root := unpack(t, fetch(t, "trixie", "arm64", "musl"))
	copyIn(t, executable, filepath.Join(root, "usr/sbin/haproxy"))
	return judged(t, name, root, "/usr/sbin/haproxy")
}

// fromFixture is a stand-in with Debian's C library.
func fromFixture(t *testing.T, arch string, version string, read func(string) ([]byte, error)) program {
	t.Helper()
	root := unpack(t, libraries(t, "trixie", arch, "libc6"))
	content, err := read(arch)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/sbin/haproxy"), content, 0o755); err != nil {
		t.Fatal(err)
	}
	return judged(t, "fixture "+version+" "+arch, root, "/usr/sbin/haproxy")
}

// fixture30 and fixture32 are the stand-ins, for an architecture each.
func fixture30(t *testing.T, arch string) program {
	t.Helper()
	return fromFixture(t, arch, fixtures.Version30, fixtures.HAProxy30)
}

func fixture32(t *testing.T, arch string) program {
	t.Helper()
	return fromFixture(t, arch, fixtures.Version32, fixtures.HAProxy32)
}

// build is HAProxy 3.0 built against musl.
func build(t *testing.T, caps bool) musl.HAProxy {
	t.Helper()
	built, err := musl.Build(t.Context(), "trixie", caps)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func judged(t *testing.T, name, root, path string) program {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	verdict, err := inspect.File(bytes.NewReader(content), int64(len(content)), path)
	if err != nil {
		t.Fatal(err)
	}
	return program{name: name, root: root, path: path, verdict: verdict}
}

func fetch(t *testing.T, suite, arch string, names ...string) map[string]debian.Package {
	t.Helper()
	fetched, err := debian.Fetch(t.Context(), debian.Request{Suite: suite, Arch: arch, Packages: names})
	if err != nil {
		t.Fatal(err)
	}
	return fetched
}

// libraries fetches a package and all libraries that it needs, by name. Its other
// dependencies are only for its installation.
func libraries(t *testing.T, suite, arch, name string) map[string]debian.Package {
	t.Helper()
	all := map[string]debian.Package{}
	for names := []string{name}; len(names) > 0; {
		fetched := fetch(t, suite, arch, names...)
		maps.Copy(all, fetched)
		names = nil
		for _, p := range fetched {
			depends, err := debian.Depends(t.Context(), p.Path)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range depends {
				_, have := all[name]
				if !have && !slices.Contains(names, name) && (strings.HasPrefix(name, "lib") || name == "zlib1g") {
					names = append(names, name)
				}
			}
		}
	}
	return all
}

func copyIn(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Close()); err != nil {
		t.Fatal(err)
	}
}

// command is how to start the program outside of its root: through its own
// loader, if it has one, told where its libraries are.
func (p program) command() ([]string, error) {
	file, err := elf.Open(filepath.Join(p.root, p.path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	executable := filepath.Join(p.root, p.path)
	for _, header := range file.Progs {
		if header.Type != elf.PT_INTERP {
			continue
		}
		loader, err := io.ReadAll(header.Open())
		if err != nil {
			return nil, err
		}
		var folders []string
		for _, pattern := range []string{"usr/lib/*-linux-*", "lib/*-linux-*"} {
			found, err := filepath.Glob(filepath.Join(p.root, pattern))
			if err != nil {
				return nil, err
			}
			folders = append(folders, found...)
		}
		return []string{filepath.Join(p.root, string(bytes.TrimRight(loader, "\x00"))), "--library-path", strings.Join(folders, ":"), executable},
			nil
	}
	return []string{executable}, nil
}

// need ends the test when a tool is missing and cannot be installed.
func need(ctx context.Context, t *testing.T, packages map[string]string) {
	t.Helper()
	if err := debian.Tools(ctx, packages); err != nil {
		t.Fatal(err)
	}
}
