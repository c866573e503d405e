// Command chunked packs a layer as podman and buildah do when they are asked for
// zstd:chunked, with their own library: a layer with a table of contents. It takes
// the tar stream from standard input, writes the layer to FILE, and prints the
// annotations of its descriptor as JSON.
//
// usage: chunked FILE
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"go.podman.io/storage/pkg/chunked/compressor"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: chunked FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "chunked:", err)
		os.Exit(1)
	}
}

func run(name string) (err error) {
	layer, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, layer.Close()) }()
	annotations := map[string]string{}
	packer, err := compressor.ZstdCompressor(layer, annotations, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(packer, os.Stdin); err != nil {
		return err
	}
	if err := packer.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(annotations)
}
