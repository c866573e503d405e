package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// sourceArch is apt's architecture for fetching sources, which have none of their
// own.
const sourceArch = "amd64"

// Source is the upstream tarball of a Debian source package, without Debian's
// patches.
type Source struct {
	Name    string
	Version string // of upstream, as the tarball's name spells it
	Suite   string
	Path    string // of the tarball
	SHA256  string // of the tarball, lower-case hexadecimal
}

// FetchSource returns the upstream tarball of a source package in a suite. Its
// checksum comes from an index that Debian signed. As with Fetch, a cached tarball
// is used in any version; an empty cache means DefaultCacheDir. If the source is
// unavailable, the error wraps ErrUnavailable and gives the reason.
func FetchSource(ctx context.Context, suite, name, cache string) (Source, error) {
	for _, name := range []string{suite, name} {
		if !word.MatchString(name) {
			return Source{}, fmt.Errorf("%q is no name of a Debian suite or source package", name)
		}
	}
	cache, err := cacheDir(cache)
	if err != nil {
		return Source{}, err
	}
	dir := filepath.Join(cache, suite, "source")
	if _, err := tarball(dir, name); errors.Is(err, os.ErrNotExist) {
		err := locked(ctx, dir, func(apt *apt, work string) error {
			// Another process may have been first.
			if _, err := tarball(dir, name); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			file, err := apt.downloadSource(ctx, work, suite, name)
			if err != nil {
				return fmt.Errorf("source of %s/%s: %w", suite, name, err)
			}
			return os.Rename(file, filepath.Join(dir, filepath.Base(file)))
		})
		if err != nil {
			return Source{}, err
		}
	}
	path, err := tarball(dir, name)
	if err != nil {
		return Source{}, err
	}
	sum, err := sumOf(path)
	if err != nil {
		return Source{}, err
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), name+"_"), ".orig.tar.")
	return Source{Name: name, Version: version, Suite: suite, Path: path, SHA256: sum}, nil
}

// tarball returns the upstream tarball that dir has of a source package.
func tarball(dir, name string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, name+"_*.orig.tar.[gxb]z*"))
	if err != nil {
		return "", err
	}
	for _, path := range found {
		if !strings.HasSuffix(path, ".asc") {
			return path, nil
		}
	}
	return "", fmt.Errorf("upstream tarball of %s in %s: %w", name, dir, os.ErrNotExist)
}

func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// downloadSource fetches the upstream tarball into the folder work and returns
// its path.
func (a *apt) downloadSource(ctx context.Context, work, suite, name string) (path string, err error) {
	err = a.eachMirror(ctx, work, func(private, mirror string) (err error) {
		path, err = a.downloadSourceFrom(ctx, private, mirror, suite, name)
		return err
	})
	return path, err
}

func (a *apt) downloadSourceFrom(ctx context.Context, private, mirror, suite, name string) (string, error) {
	config, archives, err := a.update(ctx, private, mirror, suite, sourceArch, sources)
	if err != nil {
		return "", err
	}
	// Without Debian's patches: the mirror may have dropped the .dsc, and other
	// distributions build from the upstream tarball.
	if _, err := a.run(ctx, archives, "-c", config, "source", "--download-only", "--tar-only", "--only-source", name); err != nil {
		return "", err
	}
	path, err := tarball(archives, name)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%w: apt-get fetched no upstream tarball of %s", ErrUnavailable, name)
	}
	return path, err
}
