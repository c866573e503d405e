// Package debian fetches Debian packages of any suite and architecture, and
// upstream sources, for tests and the demo: real HAProxy and nginx executables
// without installing them.
//
// It drives apt-get with a configuration of its own and never touches the
// machine's: no package is installed, no list or cache of the machine is
// written. The mirror is one of the machine's own apt sources; its packages are
// checked against Debian's archive keyring. It is not a resolver: it fetches
// only the named packages, without their dependencies.
//
// Tools is the exception: it installs programs that a test runs, where the
// process has the rights.
//
// The machine's apt configuration and Debian's keys are trusted, the mirror and
// the network are not.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// ErrUnavailable means that Debian's packages are unavailable here: no mirror, no
// network, or no such package. Callers go on with fixtures, or skip.
var ErrUnavailable = errors.New("no Debian packages can be had here")

// ErrNoApt is the ErrUnavailable of a machine without apt-get and dpkg-deb.
var ErrNoApt = fmt.Errorf("%w: there is no apt-get and dpkg-deb", ErrUnavailable)

// Keyring is where Debian's package debian-archive-keyring puts the keys that
// sign the archive.
const Keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Request names packages of one suite and architecture.
type Request struct {
	// Suite is a Debian suite or code name: bookworm, trixie, sid.
	Suite string
	// Arch is Debian's name of the architecture: arm64, amd64.
	Arch string
	// Packages are the names of the packages.
	Packages []string
	// CacheDir keeps the packages; DefaultCacheDir if empty.
	CacheDir string
	// Refresh fetches packages even if the cache has them. Without it a cached
	// package is used in any version.
	Refresh bool
}

// Package is a fetched package.
type Package struct {
	Name    string
	Version string // as Debian spells it: [epoch:]upstream[-revision]
	Suite   string
	Arch    string // the requested one, also for a package with Architecture: all
	Path    string // of the .deb file
}

// DefaultCacheDir is $CAPVET_CACHE/debian, else debian in the folder capvet of
// $XDG_CACHE_HOME or ~/.cache.
func DefaultCacheDir() (string, error) {
	if cache := os.Getenv("CAPVET_CACHE"); cache != "" {
		return filepath.Join(cache, "debian"), nil
	}
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(cache, "capvet", "debian"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("a cache folder for Debian packages (set CAPVET_CACHE): %w", err)
	}
	return filepath.Join(home, ".cache", "capvet", "debian"), nil
}

// word matches the permitted names of suites, architectures and packages, which
// become parts of configuration files and paths.
var word = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*$`)

// Fetch returns the named packages by name. Cached packages need no network.
// Several processes may share a cache. If the packages are unavailable, the error
// wraps ErrUnavailable and gives the reason.
func Fetch(ctx context.Context, request Request) (map[string]Package, error) {
	for _, name := range append([]string{request.Suite, request.Arch}, request.Packages...) {
		if !word.MatchString(name) {
			return nil, fmt.Errorf("%q is no name of a Debian suite, architecture or package", name)
		}
	}
	cache, err := cacheDir(request.CacheDir)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, request.Suite, request.Arch)

	missing := absent(dir, request.Packages)
	if request.Refresh {
		missing = request.Packages
	}
	if len(missing) > 0 {
		if err := fill(ctx, dir, request, missing); err != nil {
			return nil, err
		}
	}
	packages := make(map[string]Package, len(request.Packages))
	for _, name := range request.Packages {
		path := debPath(dir, name)
		version, err := Field(ctx, path, "Version")
		if err != nil {
			return nil, err
		}
		packages[name] = Package{Name: name, Version: version, Suite: request.Suite, Arch: request.Arch, Path: path}
	}
	return packages, nil
}

// cacheDir is an absolute dir, the default's if empty.
func cacheDir(dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultCacheDir(); err != nil {
			return "", err
		}
	}
	return filepath.Abs(dir)
}

func debPath(dir, name string) string { return filepath.Join(dir, name+".deb") }

// absent returns the names that dir has no package of.
func absent(dir string, names []string) []string {
	var missing []string
	for _, name := range names {
		if _, err := os.Stat(debPath(dir, name)); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

// fill brings packages into dir. Each is renamed into place whole.
func fill(ctx context.Context, dir string, request Request, missing []string) error {
	return locked(ctx, dir, func(apt *apt, work string) error {
		if !request.Refresh {
			// Another process may have been first.
			if missing = absent(dir, missing); len(missing) == 0 {
				return nil
			}
		}
		files, err := apt.download(ctx, work, request.Suite, request.Arch, missing)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", request.Suite, request.Arch, err)
		}
		for name, file := range files {
			if err := os.Rename(file, debPath(dir, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// locked calls fetch under the lock of the folder dir, which is made if need be,
// with apt and a folder in it to work in.
func locked(ctx context.Context, dir string, fetch func(apt *apt, work string) error) error {
	apt, err := newApt()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	work, err := os.MkdirTemp(dir, ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	return fetch(apt, work)
}
