package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseMirrors(t *testing.T) {
	line := func(uri, suite, component string) string {
		return fmt.Sprintf("'%s/dists/%s/%s/binary-amd64/Packages.xz' some_name_Packages 0 \n", uri, suite, component)
	}
	for name, test := range map[string]struct {
		output string
		want   []string
	}{
		"nothing": {},
		"once each, official paths first": {
			output: line("http://tools.example.com", "bookworm", "main") +
				line("http://mirror.example.com/debian", "bookworm", "main") +
				line("http://mirror.example.com/debian", "trixie", "main"),
			want: []string{"http://mirror.example.com/debian", "http://tools.example.com"},
		},
		"a list of mirrors": {
			output: line("mirror+file:/etc/apt/mirrors/debian.list", "trixie", "main"),
			want:   []string{"mirror+file:/etc/apt/mirrors/debian.list"},
		},
		"other archives": {
			output: line("http://mirror.example.com/debian-security", "bookworm-security", "main") +
				line("http://mirror.example.com/ubuntu", "noble", "main") +
				line("http://mirror.example.com/debian", "bookworm", "contrib") +
				"'http://mirror.example.com/debian/dists/bookworm/InRelease' some_name 0 \n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, parseMirrors(test.output)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestMirrors has apt itself read both formats of sources.
func TestMirrors(t *testing.T) {
	apt, err := newApt()
	if err != nil {
		t.Skip(err)
	}
	for name, test := range map[string]struct {
		file, content string
		want          []string
	}{
		"one-line": {"a.list", "deb [arch=amd64] http://mirror.example.com/debian/ bookworm main contrib\n",
			[]string{"http://mirror.example.com/debian"}},
		"deb822": {"a.sources", "Types: deb\nURIs: http://mirror.example.com/debian\nSuites: trixie trixie-updates\nComponents: " +
			"main\n", []string{"http://mirror.example.com/debian"}},
		"another distribution": {"a.list", "deb http://mirror.example.com/ubuntu noble main\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, test.file), []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			with := *apt
			with.sources = fmt.Sprintf("Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts %q;\n", dir)
			got, err := with.mirrors(t.Context(), filepath.Join(t.TempDir(), "private"))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if test.want == nil && !errors.Is(err, ErrUnavailable) {
				t.Errorf("error is %v, want ErrUnavailable", err)
			}
			if test.want != nil && err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFetchWithoutApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Fetch(t.Context(), Request{Suite: "trixie", Arch: "arm64", Packages: []string{"haproxy"}, CacheDir: t.TempDir()})
	if !errors.Is(err, ErrNoApt) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("error is %v, want ErrNoApt", err)
	}
}

func TestFetchRefusesNames(t *testing.T) {
	for _, request := range []Request{
		{Suite: "../sid", Arch: "arm64", Packages: []string{"haproxy"}},
		{Suite: "sid", Arch: "arm64\nTrusted: yes", Packages: []string{"haproxy"}},
		{Suite: "sid", Arch: "arm64", Packages: []string{"--option=x"}},
		{Suite: "", Arch: "arm64", Packages: []string{"haproxy"}},
	} {
		request.CacheDir = t.TempDir()
		if _, err := Fetch(t.Context(), request); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%+v: error is %v, want a refusal", request, err)
		}
		if made, _ := os.ReadDir(request.CacheDir); len(made) != 0 {
			t.Errorf("%+v: made %v", request, made)
		}
	}
}

func TestFetchSourceCached(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	cache := t.TempDir()
	if _, err := FetchSource(t.Context(), "sid", "thing", cache); !errors.Is(err, ErrNoApt) {
		t.Errorf("nothing in the cache: %v, want ErrNoApt", err)
	}
	if _, err := FetchSource(t.Context(), "sid", "../thing", cache); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a name with a path: %v, want a refusal", err)
	}
	dir := filepath.Join(cache, "sid", "source")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"thing_1.2+dfsg.orig.tar.xz", "thing_1.2+dfsg.orig.tar.xz.asc", "other_3.orig.tar.gz"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := FetchSource(t.Context(), "sid", "thing", cache)
	want := Source{
		Name: "thing", Version: "1.2+dfsg", Suite: "sid", Path: filepath.Join(dir, "thing_1.2+dfsg.orig.tar.xz"),
		SHA256: "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestToolsMissing(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if err := os.WriteFile(filepath.Join(bin, "there"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Tools(t.Context(), map[string]string{"there": "one"}); err != nil {
		t.Error(err)
	}
	err := Tools(t.Context(), map[string]string{"there": "one", "tool-b": "two", "tool-a": "two"})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "tool-a, tool-b not found; install the package two") {
		t.Errorf("error is %v, want ErrUnavailable that names what to install", err)
	}
}

func TestDefaultCacheDir(t *testing.T) {
	t.Setenv("CAPVET_CACHE", "/one")
	t.Setenv("XDG_CACHE_HOME", "/two")
	if got, err := DefaultCacheDir(); err != nil || got != "/one/debian" {
		t.Errorf("got %s, %v", got, err)
	}
	t.Setenv("CAPVET_CACHE", "")
	if got, err := DefaultCacheDir(); err != nil || got != "/two/capvet/debian" {
		t.Errorf("got %s, %v", got, err)
	}
}

// build makes a package of one file, /usr/bin/thing, and returns its path.
func build(t *testing.T, content string) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("there is no dpkg-deb to build a package with")
	}
	root := t.TempDir()
	control := "Package: thing\nVersion: 1:2.3-4\nArchitecture: arm64\nMaintainer: A Test <test@example.com>\n" +
		"Description: a test\nDepends: libc6 (>= 2.38), libssl3t64 | libssl3, python3:any, adduser\n"
	for path, content := range map[string]string{"DEBIAN/control": control, "usr/bin/thing": content} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("thing", filepath.Join(root, "usr/bin/link")); err != nil {
		t.Fatal(err)
	}
	deb := filepath.Join(t.TempDir(), "thing.deb")
	if output, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", root, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return deb
}

func TestDeb(t *testing.T) {
	deb := build(t, "content")
	if got, err := Field(t.Context(), deb, "Version"); err != nil || got != "1:2.3-4" {
		t.Errorf("Version: %q, %v", got, err)
	}
	depends, err := Depends(t.Context(), deb)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"libc6", "libssl3t64", "python3", "adduser"}, depends); diff != "" {
		t.Errorf("Depends (-want +got):\n%s", diff)
	}
	if got, err := Extract(t.Context(), deb, "/usr/bin/thing"); err != nil || string(got) != "content" {
		t.Errorf("Extract: %q, %v", got, err)
	}
	dir := filepath.Join(t.TempDir(), "root")
	if err := Unpack(t.Context(), deb, dir); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "usr/bin/link")); err != nil || string(got) != "content" {
		t.Errorf("unpacked: %q, %v", got, err)
	}
	for _, name := range []string{"/usr/bin/other", "/usr/bin/link", "/usr/bin"} {
		if got, err := Extract(t.Context(), deb, name); err == nil {
			t.Errorf("Extract %s: %q and no error", name, got)
		}
	}
}

func TestDamagedDeb(t *testing.T) {
	deb := build(t, strings.Repeat("content", 1<<16))
	whole, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(deb, whole[:len(whole)-len(whole)/8], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(t.Context(), deb, "/usr/bin/thing"); err == nil {
		t.Error("a truncated package was read without error")
	}
	if err := Unpack(t.Context(), deb, t.TempDir()); err == nil {
		t.Error("a truncated package was unpacked without error")
	}
	stream, err := Filesystem(t.Context(), deb)
	if err != nil {
		t.Fatal(err)
	}
	_, readErr := io.Copy(io.Discard, stream)
	if err := errors.Join(readErr, stream.Close()); err == nil {
		t.Error("a truncated package was streamed without error")
	}
}

func TestFilesystemLeftUnread(t *testing.T) {
	stream, err := Filesystem(t.Context(), build(t, strings.Repeat("content", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stream, make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v, want a wait to the deadline", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	unlock()
}

func TestComplaint(t *testing.T) {
	got := complaint("E: Failed\n  http://user:secret@mirror.example.com/debian  404")
	if want := "E: Failed http://mirror.example.com/debian 404"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := complaint(strings.Repeat("x", 2*maxComplaint)); len(got) > maxComplaint+10 {
		t.Errorf("%d bytes", len(got))
	}
}
