//go:build image

package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Where the builder has the host's modules and build cache.
const (
	modulesFolder = "/modules"
	cacheFolder   = "/cache"
)

// buildah builds with storage of its own below a folder.
type buildah struct {
	dir     string
	modules string // the host's downloaded modules
	cache   string // the host's build cache
}

// run runs buildah and returns its output.
func (b *buildah) run(ctx context.Context, args ...string) (string, error) {
	storage := []string{"--storage-driver", "vfs", "--root", filepath.Join(b.dir, "root"), "--runroot", filepath.Join(b.dir, "run")}
	command := exec.CommandContext(ctx, "buildah", append(storage, args...)...)
	command.Env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(b.dir, "containers.conf"))
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("buildah %s: %w: %s%s", strings.Join(args, " "), err, output, stderr.String())
	}
	return strings.TrimSpace(string(output)), nil
}

// configuration is buildah's. Later ones than 1.28 want a program that sets up
// networks, which Debian only recommends with them and a build in a chroot never
// calls; and they raise limits, which root in a container may not.
const configuration = `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=30000:30000"]
[engine]
helper_binaries_dir = [%q]
`

// configure writes the configuration. Any program takes the place of the one
// that is never called.
func (b *buildah) configure(program string) error {
	helpers := filepath.Join(b.dir, "helpers")
	return errors.Join(
		os.MkdirAll(helpers, 0o755),
		os.Symlink(program, filepath.Join(helpers, "netavark")),
		os.WriteFile(filepath.Join(b.dir, "containers.conf"), fmt.Appendf(nil, configuration, helpers), 0o600),
	)
}

// builder names the image that stands in for the Dockerfile's builder.
const builder = "localhost/capvet-builder"

// makeBuilder makes the builder of this machine's Go, CA roots and a shell. It is
// an index that has the same content for each architecture of targets: buildah
// looks for a base image of the stage's platform, and before 1.29 of the
// target's instead.
func (b *buildah) makeBuilder(ctx context.Context, goroot, caRoots, shell string, targets []string) error {
	if err := b.configure(shell); err != nil {
		return err
	}
	container, err := b.run(ctx, "from", "scratch")
	if err != nil {
		return err
	}
	tmp := filepath.Join(b.dir, "empty")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	steps := [][]string{
		{"add", "-q", container, goroot, "/usr/local/go"},
		{"add", "-q", container, shell, "/bin/sh"},
		{"add", "-q", container, caRoots, caRoots},
		{"add", "-q", container, tmp, "/tmp"},
		{
			"config", "--env", "PATH=/usr/local/go/bin:/bin", "--env", "GOPATH=/go", "--env", "GOTOOLCHAIN=local",
			// The host's module cache, checked by go.sum.
			"--env", "GOPROXY=file://" + modulesFolder, "--env", "GOSUMDB=off", "--env", "GOCACHE=" + cacheFolder, container,
		},
		{"manifest", "create", builder},
	}
	for _, arch := range targets {
		image := builder + "-" + arch
		steps = append(steps, []string{"config", "--arch", arch, container}, []string{"commit", "-q", container, image},
			[]string{"manifest", "add", builder, "containers-storage:" + image})
	}
	for _, step := range steps {
		if _, err := b.run(ctx, step...); err != nil {
			return err
		}
	}
	return nil
}

// build builds the Dockerfile of the folder source for an architecture into an
// OCI layout.
func (b *buildah) build(ctx context.Context, source, arch, version, layout string) error {
	name := "localhost/capvet:" + arch
	if _, err := b.run(ctx, "build", "-q", "--isolation", "chroot", "--pull-never", "--no-cache",
		"--timestamp", "0", "--identity-label=false", "--platform", "linux/"+arch,
		"--build-arg", "GO_IMAGE="+builder, "--build-arg", "VERSION="+version,
		"--volume", b.modules+":"+modulesFolder+":ro", "--volume", b.cache+":"+cacheFolder,
		"-t", name, source); err != nil {
		return err
	}
	_, err := b.run(ctx, "push", "-q", name, "oci:"+layout)
	return err
}

// errUnsupported means that this machine cannot build images.
var errUnsupported = errors.New("buildah cannot build here")

// supported returns an errUnsupported where this process may not build.
func supported() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: it takes Linux", errUnsupported)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: a build in a chroot takes root", errUnsupported)
	}
	return nil
}
