//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/capvet/capvet/test/testimage"
)

// images are references, all under the front's name but the private one.
type images struct {
	haproxy30, haproxy32 string // indexes for arm64 and amd64, with attestations
	private              string // HAProxy 3.0, behind a password
	cloud                string // the same, behind one that a credential provider knows
	amd64Only            string
	oversized            string // HAProxy beyond the file limit
	corrupt              string // a layer that does not have its digest
	missing              string
	symlinked            string // HAProxy under another name, behind a link
	removed              string // HAProxy removed by an upper layer
	version30, version32 string
}

// pushImages builds the images from Debian's packages, and fills the registries.
// Where the packages are unavailable it uses the fixtures, with a notice; under CI
// it fails instead.
func pushImages(ctx context.Context, c *cluster) (images, error) {
	i := images{
		haproxy30: c.front.Host() + "/library/haproxy:3.0",
		haproxy32: c.front.Host() + "/library/haproxy:3.2",
		private:   c.private.Host() + "/team/haproxy:3.0",
		cloud:     c.private.Host() + cloudPath + "/haproxy:3.0",
		amd64Only: c.front.Host() + "/library/haproxy:amd64",
		oversized: c.front.Host() + "/library/oversized:1",
		corrupt:   c.front.Host() + "/library/corrupt:1",
		missing:   c.front.Host() + "/library/missing:1",
		symlinked: c.front.Host() + "/library/symlinked:1",
		removed:   c.front.Host() + "/library/removed:1",
	}
	arm30, spec30, version30, err := haproxy(ctx, "3.0", "arm64")
	if err != nil {
		return i, err
	}
	arm32, _, version32, err := haproxy(ctx, "3.2", "arm64")
	if err != nil {
		return i, err
	}
	amd30, _, _, err := haproxy(ctx, "3.0", "amd64")
	if err != nil {
		return i, err
	}
	i.version30, i.version32 = version30, version32
	index30, err := testimage.IndexWithAttestations(amd30, arm30)
	if err != nil {
		return i, err
	}
	index32, err := testimage.IndexWithAttestations(arm32)
	if err != nil {
		return i, err
	}
	build := func(spec testimage.Spec) v1.Image {
		image, buildErr := testimage.Build(ctx, spec)
		if buildErr != nil {
			err = buildErr
		}
		return image
	}
	corrupt := build(spec30.With(testimage.Layer{Files: []testimage.File{testimage.Noise("noise", 1<<16, 1)}}))
	symlinked := build(spec30.With(testimage.Layer{Files: []testimage.File{
		{Path: "/usr/lib/lb/bin", Mode: 0o755, Data: executableOf(spec30)},
		testimage.Whiteout(testimage.OfficialPath),
		{Path: "/usr/sbin/haproxy", Symlink: "../lib/lb/bin"},
	}}))
	removed := build(spec30.With(testimage.Layer{Files: []testimage.File{testimage.Whiteout(testimage.OfficialPath)}}))
	oversized := build(spec30.With(testimage.Layer{Files: []testimage.File{testimage.Zeros("/usr/sbin/haproxy", 257<<20)}}))
	if err != nil {
		return i, err
	}
	for reference, what := range map[string]remote.Taggable{
		i.haproxy30: index30, i.haproxy32: index32, i.private: arm30, i.cloud: arm30, i.amd64Only: amd30,
		i.corrupt: corrupt, i.symlinked: symlinked, i.removed: removed, i.oversized: oversized,
	} {
		ref, err := name.ParseReference(reference, name.Insecure)
		if err != nil {
			return i, err
		}
		auth := authn.Anonymous
		if reference == i.private || reference == i.cloud {
			auth = authn.FromConfig(authn.AuthConfig{Username: privateUser, Password: privatePassword})
		}
		if err := remote.Push(ref, what, remote.WithContext(ctx), remote.WithAuth(auth)); err != nil {
			return i, fmt.Errorf("pushing %s: %w", reference, err)
		}
	}
	layers, err := corrupt.Layers()
	if err != nil {
		return i, err
	}
	digest, err := layers[len(layers)-1].Digest()
	if err != nil {
		return i, err
	}
	return i, c.registry.CorruptBlob(digest)
}

func haproxy(ctx context.Context, line, arch string) (v1.Image, testimage.Spec, string, error) {
	spec, origin, err := testimage.HAProxy{Line: line, Arch: arch}.Official(ctx)
	if err != nil {
		return nil, spec, "", err
	}
	if err := origin.Refused(); err != nil {
		return nil, spec, "", err
	}
	if origin.Fallback != nil {
		fmt.Fprintf(os.Stderr, "integration: HAProxy %s for %s is the project's own fixture: %v\n", line, arch, origin.Fallback)
	}
	image, err := testimage.Build(ctx, spec)
	return image, spec, origin.Version, err
}

// executableOf returns HAProxy's executable from a spec.
func executableOf(spec testimage.Spec) []byte {
	for _, layer := range spec.Layers {
		for _, file := range layer.Files {
			if file.Path == testimage.OfficialPath {
				return file.Data
			}
		}
	}
	return nil
}
