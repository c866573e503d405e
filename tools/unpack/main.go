// Command unpack unpacks the layers of an image with an unpacker of nodes or
// builders: containerd's or umoci's. Tests compare capvet's reading of the same
// layers with the result. Its input are tar streams from a test. It runs as root,
// since layers have owners and devices.
//
// usage: unpack containerd|umoci DIR PATHS LAYER...
//
// Afterwards it changes its root to DIR, opens each path of the file PATHS, one a
// line, and prints the contents of those that lead to regular files as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/opencontainers/umoci/oci/layer"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: unpack containerd|umoci DIR PATHS LAYER...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "unpack:", err)
		os.Exit(1)
	}
}

func run(with, dir, list string, layers []string) error {
	paths, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	unpackers := map[string]func(io.Reader) error{
		"containerd": func(r io.Reader) error {
			_, err := archive.Apply(context.Background(), dir, r)
			return err
		},
		"umoci": func(r io.Reader) error { return layer.UnpackLayer(dir, r, nil) },
	}
	unpack, ok := unpackers[with]
	if !ok {
		return fmt.Errorf("%q is no unpacker: give containerd or umoci", with)
	}
	for _, name := range layers {
		stream, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unpack(stream)
		_ = stream.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// So the kernel resolves links as it does in a container.
	if err := syscall.Chroot(dir); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	held := map[string]string{}
	for _, path := range strings.Fields(string(paths)) {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		held[path] = string(content)
	}
	return json.NewEncoder(os.Stdout).Encode(held)
}
