// Command scan measures cold scans of images against crane and tar, and against
// the floor: the time to download, verify, unpack and walk the necessary layers.
// Each runs as a process of its own, in turn, against one registry on loopback.
// It has no assertions: only the ratios mean anything.
//
// Its images are made of Debian's packages for arm64, which it fetches and
// keeps; the images themselves are removed at the end.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/capvet/capvet/test/harness"
	"github.com/capvet/capvet/test/registry"
)

// defaultScale is the part of the full large image that is built by default:
// some 300 MB, packed.
const defaultScale = 0.35

func main() {
	harness.Main("bench-scan", func(ctx context.Context) (int, error) {
		switch {
		case len(os.Args) > 1 && os.Args[1] == floorCommand:
			return 0, floor(ctx, os.Args[2:])
		case len(os.Args) == 3 && os.Args[1] == imagesCommand:
			return 0, writeImages(ctx, os.Args[2])
		}
		return 0, run(ctx)
	})
}

// imagesCommand makes this program build and push the images: the memory that it
// takes would count as that of each process started afterwards.
const imagesCommand = "images"

func readImages(ctx context.Context, self, host string) (images []image, err error) {
	child := exec.CommandContext(ctx, self, imagesCommand, host)
	child.Stderr = os.Stderr
	output, err := child.Output()
	if err != nil {
		return nil, fmt.Errorf("building the images: %w", err)
	}
	return images, json.Unmarshal(output, &images)
}

func writeImages(ctx context.Context, host string) (err error) {
	scale := defaultScale
	if text := os.Getenv("CAPVET_BENCH_SCALE"); text != "" {
		if scale, err = strconv.ParseFloat(text, 64); err != nil || scale <= 0 || scale > 1 {
			return fmt.Errorf("CAPVET_BENCH_SCALE is %q: give the part of the full image, above 0 and up to 1", text)
		}
	}
	images, err := pushImages(ctx, host, scale)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(images)
}

func run(ctx context.Context) (err error) {
	folders, err := harness.Environment("bench-scan", "CAPVET_REGISTRY_TOOLS")
	if err != nil {
		return err
	}
	tools := folders[0]
	root, err := harness.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "capvet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	capvet, err := harness.BuildCommand(ctx, root, "capvet", dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	store, err := registry.Start(ctx, registry.Options{Binary: filepath.Join(tools, "registry"), Dir: filepath.Join(dir, "registry")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	images, err := readImages(ctx, self, store.Host())
	if err != nil {
		return err
	}
	syft := ""
	if folder := os.Getenv("CAPVET_SYFT_TOOLS"); folder != "" {
		syft = filepath.Join(folder, "syft")
	}
	m := measurer{log: store.AccessLog(), host: store.Host()}
	for _, image := range images {
		fmt.Printf("\n%s\n%-36s %9s %9s %9s %11s\n", image, "", "wall s", "CPU s", "peak MiB", "MB read")
		for _, c := range commands(capvet, filepath.Join(tools, "crane"), syft, self, image) {
			if err := m.measure(ctx, c); err != nil {
				return err
			}
		}
	}
	m.compare(images)
	return nil
}
