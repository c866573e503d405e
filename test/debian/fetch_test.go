//go:build corpus

package debian

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// require fetches, or skips the test where Debian's packages cannot be had; in
// CI they must.
func require(t *testing.T, request Request) map[string]Package {
	t.Helper()
	packages, err := Fetch(t.Context(), request)
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// TestFetch fetches one small package of another architecture, by two at once,
// and again with no apt in reach.
func TestFetch(t *testing.T) {
	request := Request{Suite: "trixie", Arch: "arm64", Packages: []string{"base-files"}, CacheDir: t.TempDir()}
	var group sync.WaitGroup
	var other map[string]Package
	var otherErr error
	group.Go(func() { other, otherErr = Fetch(t.Context(), request) })
	packages, err := Fetch(t.Context(), request)
	group.Wait()
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil || otherErr != nil {
		t.Fatal(err, otherErr)
	}
	if diff := cmp.Diff(packages, other); diff != "" {
		t.Errorf("two at once differ:\n%s", diff)
	}
	base := packages["base-files"]
	if got, err := Field(t.Context(), base.Path, "Architecture"); err != nil || got != "arm64" {
		t.Errorf("Architecture: %q, %v", got, err)
	}
	release, err := Extract(t.Context(), base.Path, "/usr/lib/os-release")
	if err != nil || !bytes.Contains(release, []byte("trixie")) {
		t.Errorf("os-release: %q, %v", release, err)
	}
	left, err := filepath.Glob(filepath.Join(request.CacheDir, "trixie", "arm64", ".fetch-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	bin := t.TempDir()
	for _, tool := range []string{"dpkg-deb", "tar", "rm"} { // dpkg-deb runs the others
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	again, err := Fetch(t.Context(), request)
	if err != nil {
		t.Fatalf("from the cache: %v", err)
	}
	if diff := cmp.Diff(packages, again); diff != "" {
		t.Errorf("from the cache (-first +again):\n%s", diff)
	}
	request.Refresh = true
	if _, err := Fetch(t.Context(), request); !errors.Is(err, ErrNoApt) {
		t.Errorf("a refresh without apt: %v, want ErrNoApt", err)
	}
}

func TestFetchNoSuchPackage(t *testing.T) {
	cache := t.TempDir()
	require(t, Request{Suite: "bookworm", Arch: "amd64", Packages: []string{"base-files"}, CacheDir: cache})
	_, err := Fetch(t.Context(), Request{Suite: "bookworm", Arch: "amd64", Packages: []string{"no-such-package"}, CacheDir: cache})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("error is %v, want ErrUnavailable", err)
	}
}

// TestFetchSource fetches an upstream tarball, and again with no apt in reach.
func TestFetchSource(t *testing.T) {
	cache := t.TempDir()
	source, err := FetchSource(t.Context(), "trixie", "hello", cache)
	if errors.Is(err, ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command("tar", "-tf", source.Path).Output()
	if err != nil || !bytes.Contains(output, []byte("hello-"+source.Version+"/configure")) {
		t.Errorf("%+v: %v, %.200s", source, err, output)
	}
	t.Setenv("PATH", t.TempDir())
	again, err := FetchSource(t.Context(), "trixie", "hello", cache)
	if diff := cmp.Diff(source, again); err != nil || diff != "" {
		t.Errorf("from the cache: %v (-first +again):\n%s", err, diff)
	}
}

func TestFetchSourceNone(t *testing.T) {
	cache := t.TempDir()
	require(t, Request{Suite: "bookworm", Arch: "amd64", Packages: []string{"base-files"}, CacheDir: cache})
	if _, err := FetchSource(t.Context(), "bookworm", "no-such-source", cache); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error is %v, want ErrUnavailable", err)
	}
}

// TestFetchSigned: a mirror whose files Debian did not sign is refused, whatever
// the machine's configuration.
func TestFetchSigned(t *testing.T) {
	apt, err := newApt()
	if err != nil {
		t.Skip(err)
	}
	mirror := t.TempDir()
	dist := filepath.Join(mirror, "dists", "sid")
	for path, content := range map[string]string{
		"main/binary-arm64/Packages": "",
		"main/source/Sources":        "",
		"Release": "Origin: Debian\nSuite: sid\nCodename: sid\nDate: Mon, 01 Jan 2024 00:00:00 UTC\nArchitectures: " +
			"arm64\nComponents: main\n",
	} {
		path = filepath.Join(dist, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, ErrUnavailable) || !bytes.Contains([]byte(err.Error()), []byte("not signed")) {
			t.Errorf("error is %v, want a refusal for want of a signature", err)
		}
	}
	t.Run("binary", func(t *testing.T) {
		_, err := apt.downloadFrom(t.Context(), filepath.Join(t.TempDir(), "private"), "file:"+mirror, "sid", "arm64", []string{"haproxy"})
		refused(t, err)
	})
	t.Run("source", func(t *testing.T) {
		_, err := apt.downloadSourceFrom(t.Context(), filepath.Join(t.TempDir(), "private"), "file:"+mirror, "sid", "haproxy")
		refused(t, err)
	})
}
