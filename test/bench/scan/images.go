package main

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/test/debian"
	"github.com/capvet/capvet/test/testimage"
)

// image is one that is measured.
type image struct {
	Name      string
	Reference string
	Layers    []string // digests, the lowest first
	Needed    []string // of the layers that decide: that of HAProxy and those above
	Bytes     int64    // of all layers
	Tables    bool     // they have tables of contents
}

func (i image) String() string {
	return fmt.Sprintf("%s: %.0f MB packed in %d layers, HAProxy in number %d from the top", i.Name, float64(i.Bytes)/1e6, len(i.Layers),
		len(i.Needed))
}

// base are packages whose sizes add up to that of a small base image.
var base = []string{
	"base-files", "bash", "coreutils", "dpkg", "apt", "libc6", "libc-bin", "libstdc++6", "perl-base", "tzdata", "util-linux",
	"tar", "sed", "grep", "findutils", "libsystemd0", "libgnutls30t64", "libapt-pkg7.0", "e2fsprogs", "login", "passwd", "libdb5.3t64",
	"libpam-modules", "mount", "ncurses-base", "libkrb5-3", "gpgv",
}

// added are the packages that the typical image adds to the base.
var added = []string{"ca-certificates", "openssl", "libssl3t64", "liblua5.4-0", "libpcre2-8-0", "perl-modules-5.40", "libperl5.40",
	"libpython3.13-minimal", "libpython3.13-stdlib"}

// bulk makes the large image large: each is a layer in turn.
var bulk = []string{
	"golang-1.24-go", "openjdk-21-jre-headless", "libllvm19", "golang-1.24-src", "rustc", "cpp-14", "libicu76", "chromium",
	"g++-14", "firefox-esr", "libreoffice-core", "thunderbird", "clang-19", "llvm-19", "libclang-cpp19", "nodejs", "qemu-system-arm",
	"openjdk-21-jdk-headless", "libnode115", "libwebkit2gtk-4.1-0", "ghc", "chromium-common",
}

const bulkLayers = 5

// pushImages builds the images and pushes them.
func pushImages(ctx context.Context, host string, scale float64) ([]image, error) {
	proxy, origin, err := proxyLayers(ctx)
	if err != nil {
		return nil, err
	}
	if origin.Fallback != nil {
		return nil, fmt.Errorf("this needs Debian's packages: %w", origin.Fallback)
	}
	layer := func(packages ...string) (testimage.Layer, error) {
		fetched, err := debian.Fetch(ctx, debian.Request{Suite: "trixie", Arch: "arm64", Packages: packages})
		l := testimage.Layer{CreatedBy: "RUN apt-get install"}
		for _, p := range packages {
			l.Debs = append(l.Debs, fetched[p].Path)
		}
		return l, err
	}
	lower, err := layer(base...)
	if err != nil {
		return nil, err
	}
	middle, err := layer(added...)
	if err != nil {
		return nil, err
	}
	var large []testimage.Layer
	packages := bulk[:max(1, int(math.Ceil(scale*float64(len(bulk)))))]
	for i := range min(bulkLayers, len(packages)) {
		var share []string
		for j := i; j < len(packages); j += bulkLayers {
			share = append(share, packages[j])
		}
		l, err := layer(share...)
		if err != nil {
			return nil, err
		}
		large = append(large, l)
	}
	entry := testimage.Layer{CreatedBy: "COPY", Files: []testimage.File{{Path: "/usr/local/bin", Mode: 0o755 | fs.ModeDir},
		{Path: "/usr/local/bin/docker-entrypoint.sh", Mode: 0o755, Data: []byte("#!/bin/sh\nexec \"$@\"\n")}}}
	zstded := func(layers []testimage.Layer) []testimage.Layer {
		layers = slices.Clone(layers)
		for i := range layers {
			layers[i].MediaType = types.OCILayerZStd
		}
		return layers
	}
	typical := []testimage.Layer{lower, middle, proxy, entry}
	bottom := append([]testimage.Layer{lower, proxy}, append(large, entry)...)
	top := append(append([]testimage.Layer{lower}, large...), proxy, entry)
	dir, err := os.MkdirTemp("", "capvet-estargz-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b := builder{ctx: ctx, dir: dir, host: host, platform: v1.Platform{OS: "linux", Architecture: "arm64"},
		built: map[string]mutate.Addendum{}}
	var images []image
	for _, spec := range []struct {
		name   string
		needed int
		layers []testimage.Layer
		change func(v1.Layer, string) (v1.Layer, map[string]string, error)
	}{
		{"typical", 2, typical, nil},
		{"typical-zstd", 2, zstded(typical), nil},
		{"typical-estargz", 2, typical, withTable},
		{"large", 2 + len(large), bottom, nil},
		{"large-zstd", 2 + len(large), zstded(bottom), nil},
		{"large-estargz", 2 + len(large), bottom, withTable},
		{"largetop", 2, top, nil},
		{"largetop-zstd", 2, zstded(top), nil},
		{"largetop-estargz", 2, top, withTable},
	} {
		if only := os.Getenv("CAPVET_BENCH_IMAGES"); only != "" && !slices.Contains(strings.Split(only, ","), spec.name) {
			continue
		}
		built, err := b.push(spec.name, spec.layers, spec.change)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", spec.name, err)
		}
		built.Needed = built.Layers[len(built.Layers)-spec.needed:]
		images = append(images, built)
	}
	return images, nil
}

// proxyLayers returns a layer as a builder makes it, parents included.
func proxyLayers(ctx context.Context) (testimage.Layer, testimage.Origin, error) {
	_, origin, err := testimage.HAProxy{Line: "3.0", Arch: "arm64"}.Official(ctx)
	l := testimage.Layer{CreatedBy: "RUN make install"}
	for _, d := range []string{"/usr", "/usr/local", "/usr/local/sbin"} {
		l.Files = append(l.Files, testimage.File{Path: d, Mode: 0o755 | fs.ModeDir})
	}
	l.Files = append(l.Files, testimage.File{Path: testimage.OfficialPath, Mode: 0o755, Data: origin.Executable},
		testimage.Noise("/usr/local/share/doc", 1<<20, 1))
	return l, origin, err
}

// builder makes each layer once: several images are made of the same.
type builder struct {
	ctx      context.Context
	host     string
	dir      string
	platform v1.Platform
	built    map[string]mutate.Addendum
}

// push builds an image and pushes it. change converts a layer, in a file of the
// builder's folder; nil leaves the layers as they are.
func (b builder) push(tag string, layers []testimage.Layer,
	change func(v1.Layer, string) (v1.Layer, map[string]string, error)) (image, error) {
	whole, err := testimage.Build(b.ctx, testimage.Spec{Platform: b.platform})
	if err != nil {
		return image{}, err
	}
	result := image{Name: tag, Reference: path.Join(b.host, "bench:"+tag), Tables: change != nil}
	for _, l := range layers {
		id := fmt.Sprint(l.MediaType, l.Debs, len(l.Files), l.CreatedBy, change != nil)
		if b.built[id].Layer == nil {
			fmt.Fprintf(os.Stderr, "building a layer of %d packages and %d files\n", len(l.Debs), len(l.Files))
			one, err := testimage.Build(b.ctx, testimage.Spec{Platform: b.platform, Layers: []testimage.Layer{l}})
			if err != nil {
				return image{}, err
			}
			layers, err := one.Layers()
			if err != nil {
				return image{}, err
			}
			made := mutate.Addendum{Layer: layers[0]}
			if change != nil {
				if made.Layer, made.Annotations, err = change(layers[0], b.dir); err != nil {
					return image{}, err
				}
			}
			if made.MediaType, err = made.Layer.MediaType(); err != nil {
				return image{}, err
			}
			b.built[id] = made
		}
		layer := b.built[id].Layer
		if whole, err = mutate.Append(whole, b.built[id]); err != nil {
			return image{}, err
		}
		digest, err := layer.Digest()
		if err != nil {
			return image{}, err
		}
		size, err := layer.Size()
		if err != nil {
			return image{}, err
		}
		result.Layers, result.Bytes = append(result.Layers, digest.String()), result.Bytes+size
	}
	ref, err := name.ParseReference(result.Reference, name.Insecure)
	if err != nil {
		return image{}, err
	}
	return result, remote.Write(ref, whole, remote.WithContext(b.ctx))
}
