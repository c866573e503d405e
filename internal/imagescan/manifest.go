package imagescan

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// manifest is a manifest or an index, reduced to the used fields.
type manifest struct {
	digest    v1.Hash
	mediaType types.MediaType
	config    descriptor
	layers    []layer // of a manifest, the lowest first
	entries   []entry // of an index
}

// descriptor locates a blob.
type descriptor struct {
	mediaType types.MediaType
	digest    v1.Hash
	size      int64
}

// layer locates a layer.
type layer struct {
	digest  v1.Hash
	size    int64
	foreign bool // the registry does not hold it
	toc     layers.TOC
}

// entry is a manifest that an index lists.
type entry struct {
	descriptor
	platform *v1.Platform // nil if undeclared
	// attestation means that the entry describes another one and is no image.
	attestation bool
	name        string // in an image layout
}

// Annotations of an entry.
const (
	// annotationName is an image's name in a layout (OCI image specification,
	// "Pre-Defined Annotation Keys").
	annotationName = "org.opencontainers.image.ref.name"
	// annotationAttests marks an attestation (BuildKit,
	// docs/attestations/attestation-storage.md).
	annotationAttests = "vnd.docker.reference.type"
)

// parseManifest parses a manifest or an index with at most maxLayers layers.
func parseManifest(m registry.Manifest, maxLayers int) (*manifest, error) {
	parsed := &manifest{digest: m.Digest}
	var mediaType string
	var version int64
	var isIndex, isImage bool
	err := decode("manifest", m.Raw, func(d *document) []field {
		return []field{
			d.token("mediaType", &mediaType),
			d.number("schemaVersion", &version),
			{"config", func() error { return d.object(d.descriptor(&parsed.config)...) }},
			{"layers", func() error {
				isImage = true
				return d.list(maxLayers, func() error { return d.layer(parsed) })
			}},
			{"manifests", func() error {
				isIndex = true
				return d.list(maxEntries, func() error { return d.entry(parsed) })
			}},
		}
	})
	if err != nil {
		return nil, err
	}
	if isIndex && isImage {
		return nil, fmt.Errorf("%w manifest: it is an index and an image at once", imagefs.ErrMalformed)
	}
	parsed.mediaType = mediaTypeOf(m.MediaType, types.MediaType(mediaType), version, isIndex, isImage)
	return parsed, nil
}

// mediaTypeOf returns the type of a manifest. The type that its source declares
// takes precedence over the manifest's own.
func mediaTypeOf(declared, own types.MediaType, version int64, isIndex, isImage bool) types.MediaType {
	if !declared.IsIndex() && !declared.IsImage() && own != "" {
		declared = own
	}
	switch {
	case version == 1 && !isImage && !isIndex:
		return types.DockerManifestSchema1
	case declared.IsIndex(), declared.IsImage(), own != "":
		return declared
	case isIndex:
		return types.OCIImageIndex
	case isImage:
		return types.OCIManifestSchema1
	}
	return declared
}

// descriptor returns the fields of a descriptor.
func (d *document) descriptor(to *descriptor) []field {
	return []field{
		{"mediaType", func() error {
			text, err := d.text(maxTokenBytes)
			to.mediaType = types.MediaType(text)
			return err
		}},
		d.digest("digest", &to.digest),
		d.number("size", &to.size),
	}
}

func (d *document) layer(to *manifest) error {
	var at descriptor
	annotations := map[string]string{}
	err := d.object(append(d.descriptor(&at), d.pairs("annotations", maxWordBytes, func(key, value string) {
		if layers.IsTOCAnnotation(key) {
			annotations[key] = value
		}
	}))...)
	to.layers = append(to.layers, layer{
		digest: at.digest, size: at.size, foreign: !at.mediaType.IsDistributable(),
		toc: layers.ParseTOC(v1.Descriptor{Size: at.size, Annotations: annotations}),
	})
	return err
}

func (d *document) entry(to *manifest) error {
	var e entry
	err := d.object(append(
		d.descriptor(&e.descriptor),
		field{"platform", func() error {
			e.platform = &v1.Platform{}
			return d.object(d.platform(e.platform)...)
		}},
		d.pairs("annotations", maxWordBytes, func(key, value string) {
			switch key {
			case annotationName:
				e.name = report.Shorten(value, maxTokenBytes)
			case annotationAttests:
				e.attestation = value != ""
			}
		}),
	)...)
	to.entries = append(to.entries, e)
	return err
}

// platform returns the fields of a platform.
func (d *document) platform(to *v1.Platform) []field {
	return []field{
		d.token("os", &to.OS), d.token("architecture", &to.Architecture),
		d.token("variant", &to.Variant), d.token("os.version", &to.OSVersion),
	}
}

// bytes returns the approximate memory of the manifest, in bytes.
func (m *manifest) bytes() int64 {
	const perManifest, perLayer = 512, 320 // with digests of 71 bytes
	return perManifest + perLayer*int64(len(m.layers))
}

// blobsOf returns the layers of an image, the lowest first. A layer is read
// through its table of contents unless all binaries are wanted: any file may be
// one.
func (s *Scanner) blobsOf(image resolution, allBinaries bool) []layers.Blob {
	session, remote := image.from.source.(*registry.Session)
	var blobs []layers.Blob
	for _, l := range image.manifest.layers {
		open := func(ctx context.Context) (io.ReadCloser, error) { return image.from.source.Blob(ctx, l.digest) }
		b := layers.Blob{Digest: l.digest, Size: l.size, AllBinaries: allBinaries, Open: open}
		if l.foreign {
			b.Gap = "a foreign layer, which the registry does not hold"
		}
		if s.options.TOC && remote && l.toc != (layers.TOC{}) && l.size >= s.options.Limits.TOCFrom && b.Gap == "" && !allBinaries {
			b.TOC = l.toc
			b.Range = func(ctx context.Context, start, end int64) (io.ReadCloser, error) {
				return session.BlobRange(ctx, v1.Descriptor{Digest: l.digest, Size: l.size}, start, end)
			}
		}
		blobs = append(blobs, b)
	}
	return blobs
}
