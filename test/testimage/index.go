package testimage

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Index returns an index of images, each under the platform of its config.
func Index(images ...v1.Image) (v1.ImageIndex, error) { return index(images, false) }

// IndexWithAttestations is Index as BuildKit writes it: each image is followed
// by the manifest of an attestation, under the platform unknown/unknown.
func IndexWithAttestations(images ...v1.Image) (v1.ImageIndex, error) { return index(images, true) }

func index(images []v1.Image, attested bool) (v1.ImageIndex, error) {
	var additions []mutate.IndexAddendum
	for _, image := range images {
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		additions = append(additions, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: config.Platform()}})
		if !attested {
			continue
		}
		subject, err := image.Digest()
		if err != nil {
			return nil, err
		}
		statement, err := attestation(subject)
		if err != nil {
			return nil, err
		}
		additions = append(additions, mutate.IndexAddendum{Add: statement, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{
				"vnd.docker.reference.type":   "attestation-manifest",
				"vnd.docker.reference.digest": subject.String(),
			},
		}})
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), additions...), nil
}

// attestation is an image manifest whose one layer is no file system but a
// statement about subject.
func attestation(subject v1.Hash) (v1.Image, error) {
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "unknown", "unknown"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2",`+
		`"subject":[{"name":"image","digest":{%q:%q}}],"predicate":{}}`, subject.Algorithm, subject.Hex)
	return mutate.AppendLayers(image, static.NewLayer([]byte(statement), "application/vnd.in-toto+json"))
}
