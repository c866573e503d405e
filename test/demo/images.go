package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/capvet/capvet/test/testimage"
)

// images are the references of the demo's images.
type images struct {
	haproxy30, haproxy32 string // references
	version30            string // of HAProxy 3.0, as the program prints it
}

// pushImages builds both images, each for arm64 and amd64, from Debian's
// packages; where those cannot be had, from the project's own fixtures.
func pushImages(ctx context.Context, host string) (images, error) {
	i := images{haproxy30: host + "/haproxy:3.0", haproxy32: host + "/haproxy:3.2"}
	var err error
	if i.version30, err = push(ctx, i.haproxy30, "3.0"); err != nil {
		return i, err
	}
	_, err = push(ctx, i.haproxy32, "3.2")
	return i, err
}

// push builds one image and returns the version of the HAProxy in it.
func push(ctx context.Context, reference, line string) (version string, err error) {
	var built []v1.Image
	for _, arch := range []string{"amd64", "arm64"} {
		spec, origin, err := testimage.HAProxy{Line: line, Arch: arch}.Official(ctx)
		if err != nil {
			return "", err
		}
		if err := origin.Refused(); err != nil {
			return "", err
		}
		if origin.Fallback != nil {
			fmt.Printf("   HAProxy %s for %s: Debian's package cannot be had (%v); taking the project's own stand-in\n", line, arch, origin.Fallback)
		} else {
			fmt.Printf("   HAProxy %s for %s: Debian's package, version %s\n", line, arch, origin.Version)
		}
		image, err := testimage.Build(ctx, spec)
		if err != nil {
			return "", err
		}
		built = append(built, image)
		version, _, _ = strings.Cut(origin.Version, "-")
	}
	index, err := testimage.IndexWithAttestations(built...)
	if err != nil {
		return "", err
	}
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return "", err
	}
	return version, remote.Push(ref, index, remote.WithContext(ctx))
}
