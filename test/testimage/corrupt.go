package testimage

import (
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// CorruptLayer returns image with layer i serving bytes that do not match its
// digest. For a registry that checks pushed blobs, corrupt the stored blob
// instead.
func CorruptLayer(image v1.Image, i int) (v1.Image, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(layers) {
		return nil, fmt.Errorf("the image has %d layers, none is layer %d", len(layers), i)
	}
	layers[i] = corruptLayer{layers[i]}
	return corruptImage{image, layers}, nil
}

type corruptImage struct {
	v1.Image
	layers []v1.Layer
}

func (c corruptImage) Layers() ([]v1.Layer, error) { return c.layers, nil }

func (c corruptImage) LayerByDigest(digest v1.Hash) (v1.Layer, error) {
	for _, layer := range c.layers {
		if hash, err := layer.Digest(); err == nil && hash == digest {
			return layer, nil
		}
	}
	return c.Image.LayerByDigest(digest)
}

type corruptLayer struct{ v1.Layer }

func (c corruptLayer) Compressed() (io.ReadCloser, error) {
	stream, err := c.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	content, err := io.ReadAll(stream)
	if err != nil {
		return nil, err
	}
	content[len(content)/2] ^= 1
	return io.NopCloser(bytes.NewReader(content)), nil
}
