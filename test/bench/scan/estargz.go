package main

import (
	"bufio"
	"os"

	"github.com/containerd/stargz-snapshotter/estargz"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// withTable converts a layer to eStargz, in a file of a folder, and returns the
// annotations of its descriptor.
func withTable(layer v1.Layer, dir string) (v1.Layer, map[string]string, error) {
	unpacked, err := layer.Uncompressed()
	if err != nil {
		return nil, nil, err
	}
	defer unpacked.Close()
	file, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	buffered := bufio.NewWriterSize(file, 1<<20)
	w := estargz.NewWriter(buffered)
	if err := w.AppendTar(unpacked); err != nil {
		return nil, nil, err
	}
	digest, err := w.Close()
	if err != nil {
		return nil, nil, err
	}
	if err := buffered.Flush(); err != nil {
		return nil, nil, err
	}
	made, err := tarball.LayerFromFile(file.Name(), tarball.WithMediaType(types.OCILayer))
	return made, map[string]string{estargz.TOCJSONDigestAnnotation: digest.String()}, err
}
