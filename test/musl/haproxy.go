// Package musl builds HAProxy for arm64 against musl, as Alpine-based and
// distroless images carry it and Debian does not: dynamic, static and
// static-pie, all stripped.
//
// The source, musl and the kernel's headers come from Debian with its
// signatures; the compiler is the machine's. A build takes a minute or two and
// is kept in capvet's cache. It is not for use: it has neither TLS nor PCRE.
package musl

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/capvet/capvet/test/debian"
)

const (
	// buildTimeout bounds one build. It takes about two minutes on two cores.
	buildTimeout = 20 * time.Minute
	// maxComplaint bounds how much of a failed command's output an error
	// repeats, in bytes.
	maxComplaint = 2000
)

// HAProxy is one build, linked in three ways. The fields are paths of stripped
// executables.
type HAProxy struct {
	// Version is upstream's, as the source tarball's name spells it. The
	// executables add the commit.
	Version string

	Dynamic, Static, StaticPIE string
}

// linkings are the linker flags by file name of the executables. All use the same
// objects: a compiler with position independent executables by default, such as
// Alpine's, compiles for static executables in the same way.
var linkings = [...]struct{ file, flag string }{
	{"haproxy-dynamic", "-pie"},
	{"haproxy-static", "-static"},
	{"haproxy-static-pie", "-static-pie"},
}

// options of HAProxy's makefile. Debian's musl has no crypt. The atomics that
// libgcc has out of line want a symbol of glibc's. Without ARCH_FLAGS there are
// no debugging symbols, which would be stripped.
func options(caps bool) []string {
	chosen := []string{"TARGET=linux-musl", "ARCH_FLAGS=", "USE_LIBCRYPT=", "USE_CRYPT_H=", "CFLAGS=-fPIE -mno-outline-atomics"}
	if !caps {
		chosen = append(chosen, "USE_LINUX_CAP=")
	}
	return chosen
}

// Build returns HAProxy of a Debian suite, from the cache if possible; caps is
// HAProxy's option USE_LINUX_CAP. If a build input is missing, the error wraps
// debian.ErrUnavailable and names it.
func Build(ctx context.Context, suite string, caps bool) (HAProxy, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	source, err := debian.FetchSource(ctx, suite, "haproxy", "")
	if err != nil {
		return HAProxy{}, err
	}
	tools, err := newToolchain(ctx)
	if err != nil {
		return HAProxy{}, err
	}
	cache, err := debian.DefaultCacheDir()
	if err != nil {
		return HAProxy{}, err
	}
	key := sha256.Sum256(fmt.Appendln(nil, source.SHA256, tools.identity, wrapper, options(caps), linkings))
	name := fmt.Sprintf("haproxy-%s-%s", source.Version, hex.EncodeToString(key[:6]))
	folder := filepath.Join(filepath.Dir(cache), "musl", name)
	if _, err := os.Stat(folder); err != nil {
		if err := tools.build(ctx, source.Path, folder, options(caps)); err != nil {
			return HAProxy{}, fmt.Errorf("building HAProxy %s against musl: %w", source.Version, err)
		}
	}
	path := func(i int) string { return filepath.Join(folder, linkings[i].file) }
	return HAProxy{Version: source.Version, Dynamic: path(0), Static: path(1), StaticPIE: path(2)}, nil
}

// build makes folder, whole or not at all.
func (t *toolchain) build(ctx context.Context, tarball, folder string, options []string) error {
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	tree, out := filepath.Join(work, "tree"), filepath.Join(work, "out")
	for _, dir := range []string{tree, out} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	bin, err := t.install(ctx, filepath.Join(work, "toolchain"))
	if err != nil {
		return err
	}
	if err := run(ctx, tree, "tar", "--extract", "--strip-components=1", "--no-same-owner", "--file", tarball); err != nil {
		return err
	}
	for _, linking := range linkings {
		// An outer make, and environment variables with names of the makefile's,
		// would change the build.
		make := []string{
			"-i", "LC_ALL=C", "PATH=" + bin + ":" + os.Getenv("PATH"),
			"make", "-s", fmt.Sprintf("-j%d", runtime.NumCPU()), "CC=" + wrapped, "LDFLAGS=" + linking.flag, "haproxy",
		}
		if err := run(ctx, tree, "env", append(make, options...)...); err != nil {
			return err
		}
		// The makefile would not see that only the linking changes.
		made := filepath.Join(tree, "haproxy")
		if err := run(ctx, tree, strip, "-o", filepath.Join(out, linking.file), made); err != nil {
			return err
		}
		if err := os.Remove(made); err != nil {
			return err
		}
	}
	err = os.Rename(out, folder)
	if _, there := os.Stat(folder); there == nil {
		return nil // another process may have been first: its folder is as good
	}
	return err
}

// run runs a command in the folder dir, and ends all that it started when ctx
// does.
func run(ctx context.Context, dir, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		words := strings.TrimSpace(string(output))
		return fmt.Errorf("%s: %w: %s", name, err, words[max(0, len(words)-maxComplaint):])
	}
	return nil
}
