package testimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/test/debian"
	"github.com/capvet/capvet/test/fixtures"
)

// HAProxy asks for an image of one release branch of HAProxy.
type HAProxy struct {
	// Line is the release branch: 2.6, 3.0 or 3.2.
	Line string
	// Arch is arm64 or amd64.
	Arch string
	// CacheDir keeps Debian's packages; debian.DefaultCacheDir if empty.
	CacheDir string
	// Fixtures selects the stand-ins of package fixtures instead of Debian's
	// packages. There is none for 2.6.
	Fixtures bool
}

// Origin is the source of an image's HAProxy.
type Origin struct {
	// Version is the version that the executable carries.
	Version string
	// Executable is HAProxy's executable itself.
	Executable []byte
	// Package is the Debian package; the zero value for a stand-in.
	Package debian.Package
	// Fallback is why a stand-in was taken although Debian's package was asked
	// for: a debian.ErrUnavailable. Nil otherwise.
	Fallback error
}

// Refused returns an error for a stand-in under CI, that is, if the environment
// variable CI is set: CI requires real packages. Otherwise it returns nil.
func (o Origin) Refused() error {
	if o.Fallback == nil || os.Getenv("CI") == "" {
		return nil
	}
	return fmt.Errorf("HAProxy from Debian is required under CI: %w", o.Fallback)
}

// line is where a release branch is found.
type line struct {
	suite   string
	fixture func(arch string) ([]byte, error) // nil if there is none
	version string                            // of the fixture
}

func lineOf(name string) (line, error) {
	switch name {
	case "2.6":
		return line{suite: "bookworm"}, nil
	case "3.0":
		return line{"trixie", fixtures.HAProxy30, fixtures.Version30}, nil
	case "3.2":
		return line{"sid", fixtures.HAProxy32, fixtures.Version32}, nil
	}
	return line{}, fmt.Errorf("no source is known for HAProxy %q, only for 2.6, 3.0 and 3.2", name)
}

// Paths of the executable in the two kinds of image.
const (
	OfficialPath     = "/usr/local/sbin/haproxy"
	DistributionPath = "/usr/sbin/haproxy"
)

const officialConfig = `global
  log stdout format raw local0

defaults
  mode http
  timeout client 10s
  timeout connect 5s
  timeout server 10s

frontend http
  bind :8080
  http-request return status 200
`

const entrypoint = `#!/bin/sh
set -e
if [ "${1#-}" != "$1" ]; then
	set -- haproxy "$@"
fi
exec "$@"
`

// Official is an image laid out like the official ones: HAProxy built from
// source under /usr/local, run as user 99 through an entry point script.
func (h HAProxy) Official(ctx context.Context) (Spec, Origin, error) {
	origin, base, err := h.find(ctx)
	if err != nil {
		return Spec{}, Origin{}, err
	}
	const config = "/usr/local/etc/haproxy/haproxy.cfg"
	upstream, _, _ := strings.Cut(origin.Version, "-")
	return Spec{
		Platform: v1.Platform{OS: "linux", Architecture: h.Arch},
		Layers: []Layer{
			base,
			{
				CreatedBy: "RUN make TARGET=linux-glibc && make install-bin",
				Files: []File{
					{Path: OfficialPath, Mode: 0o755, Data: origin.Executable},
					{Path: "/usr/local/etc/haproxy", Mode: 0o755 | fs.ModeDir},
				},
			},
			{
				CreatedBy: "COPY docker-entrypoint.sh haproxy.cfg",
				Files: []File{
					{Path: "/usr/local/bin/docker-entrypoint.sh", Mode: 0o755, Data: []byte(entrypoint)},
					{Path: config, Data: []byte(officialConfig)},
				},
			},
		},
		Config: v1.Config{
			Env: []string{
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"HAPROXY_VERSION=" + upstream,
			},
			User:       "99",
			Entrypoint: []string{"docker-entrypoint.sh"},
			Cmd:        []string{"haproxy", "-f", config},
			WorkingDir: "/var/lib/haproxy",
			StopSignal: "SIGUSR1",
		},
	}, origin, nil
}

// Distribution is an image as people make it with apt-get install haproxy: the
// whole package in one layer, and no word of HAProxy in the environment.
func (h HAProxy) Distribution(ctx context.Context) (Spec, Origin, error) {
	origin, base, err := h.find(ctx)
	if err != nil {
		return Spec{}, Origin{}, err
	}
	const config = "/etc/haproxy/haproxy.cfg"
	proxy := Layer{CreatedBy: "RUN apt-get update && apt-get install -y --no-install-recommends haproxy"}
	if origin.Package.Path != "" {
		proxy.Debs = []string{origin.Package.Path}
	} else {
		proxy.Files = []File{{Path: DistributionPath, Mode: 0o755, Data: origin.Executable}}
	}
	return Spec{
		Platform: v1.Platform{OS: "linux", Architecture: h.Arch},
		Layers: []Layer{base, proxy,
			{CreatedBy: "COPY haproxy.cfg " + config, Files: []File{{Path: config, Data: []byte(officialConfig)}}}},
		Config: v1.Config{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd: []string{"haproxy", "-W", "-f", config},
		},
	}, origin, nil
}

// find returns the executable and the layer that it lies on.
func (h HAProxy) find(ctx context.Context) (Origin, Layer, error) {
	line, err := lineOf(h.Line)
	if err != nil {
		return Origin{}, Layer{}, err
	}
	if !h.Fixtures {
		origin, base, err := h.fromDebian(ctx, line.suite)
		if !errors.Is(err, debian.ErrUnavailable) || line.fixture == nil {
			return origin, base, err
		}
		origin, base, fixtureErr := h.fromFixture(line)
		origin.Fallback = err
		return origin, base, fixtureErr
	}
	return h.fromFixture(line)
}

func (h HAProxy) fromFixture(line line) (Origin, Layer, error) {
	if line.fixture == nil {
		return Origin{}, Layer{}, fmt.Errorf("there is no stand-in for HAProxy %s", h.Line)
	}
	executable, err := line.fixture(h.Arch)
	if err != nil {
		return Origin{}, Layer{}, err
	}
	base := Layer{CreatedBy: "a base image's files", Files: []File{
		{Path: "/etc/os-release", Data: []byte("ID=fixture\nPRETTY_NAME=\"capvet's own stand-in\"\n")},
		{Path: "/tmp", Mode: 0o777 | fs.ModeDir},
	}}
	return Origin{Version: line.version, Executable: executable}, base, nil
}

// fromDebian takes HAProxy and the libraries that it depends on from Debian.
func (h HAProxy) fromDebian(ctx context.Context, suite string) (Origin, Layer, error) {
	request := debian.Request{Suite: suite, Arch: h.Arch, CacheDir: h.CacheDir, Packages: []string{"haproxy"}}
	packages, err := debian.Fetch(ctx, request)
	if err != nil {
		return Origin{}, Layer{}, err
	}
	proxy := packages["haproxy"]
	executable, err := debian.Extract(ctx, proxy.Path, DistributionPath)
	if err != nil {
		return Origin{}, Layer{}, err
	}
	depends, err := debian.Depends(ctx, proxy.Path)
	if err != nil {
		return Origin{}, Layer{}, err
	}
	request.Packages = []string{"base-files"}
	for _, name := range depends {
		if strings.HasPrefix(name, "lib") {
			request.Packages = append(request.Packages, name)
		}
	}
	slices.Sort(request.Packages)
	if packages, err = debian.Fetch(ctx, request); err != nil {
		return Origin{}, Layer{}, err
	}
	base := Layer{CreatedBy: "debuerreotype " + suite}
	for _, name := range request.Packages {
		base.Debs = append(base.Debs, packages[name].Path)
	}
	return Origin{Version: proxy.Version, Executable: executable, Package: proxy}, base, nil
}

// With returns the spec with more layers on top.
func (s Spec) With(layers ...Layer) Spec {
	s.Layers = append(slices.Clone(s.Layers), layers...)
	return s
}

// Without returns the spec with a layer on top that removes the file at name.
func (s Spec) Without(name string) Spec {
	return s.With(Layer{CreatedBy: "RUN rm " + name, Files: []File{Whiteout(name)}})
}

// Moved returns the spec with a layer on top in which the file at name is a
// relative symbolic link to where it now lies, a folder of its own under
// /usr/lib. content is the file's.
func (s Spec) Moved(name string, content []byte) Spec {
	base := path.Base(name)
	target := path.Join("/usr/lib", base+"-private", base)
	up := strings.Repeat("../", strings.Count(path.Dir(path.Clean(name)), "/"))
	return s.With(Layer{CreatedBy: "RUN mv " + name + " " + target, Files: []File{
		{Path: name, Symlink: up + entryName(target)},
		{Path: target, Mode: 0o755, Data: content},
	}})
}
