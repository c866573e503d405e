//go:build integration

package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/capvet/capvet/test/testimage"
)

// start runs a registry that ends with the test.
func start(t *testing.T, options Options) *Registry {
	t.Helper()
	tools := os.Getenv("CAPVET_REGISTRY_TOOLS")
	if tools == "" {
		t.Fatal("CAPVET_REGISTRY_TOOLS is not set: run make test-integration, which builds what it names")
	}
	options.Binary = filepath.Join(tools, "registry")
	// Not the test's context: it is done before the cleanups.
	r, err := Start(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// push pushes a new image and returns it with its reference.
func push(t *testing.T, r *Registry, options ...remote.Option) (v1.Image, name.Reference) {
	t.Helper()
	image, err := random.Image(4096, 2)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := name.ParseReference(r.Host() + "/a/b:tag")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image, options...); err != nil {
		t.Fatal(err)
	}
	return image, reference
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	hash, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// pull reads the whole image.
func pull(reference name.Reference, options ...remote.Option) (v1.Hash, error) {
	image, err := remote.Image(reference, options...)
	if err != nil {
		return v1.Hash{}, err
	}
	layers, err := image.Layers()
	if err != nil {
		return v1.Hash{}, err
	}
	for _, layer := range layers {
		stream, err := layer.Compressed()
		if err != nil {
			return v1.Hash{}, err
		}
		_, err = io.Copy(io.Discard, stream)
		if err := errors.Join(err, stream.Close()); err != nil {
			return v1.Hash{}, err
		}
	}
	return image.Digest()
}

func TestPushAndPull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "registry")
	r := start(t, Options{Dir: dir})
	image, reference := push(t, r)
	if got, err := pull(reference); err != nil || got != digest(t, image) {
		t.Fatalf("pulled %s, %v; pushed %s", got, err, digest(t, image))
	}
	access, err := os.ReadFile(r.AccessLog())
	if err != nil || !bytes.Contains(access, []byte("GET /v2/a/b/manifests/tag ")) {
		t.Errorf("access log: %v\n%s", err, access)
	}

	// After a stop it refuses connections, and after a restart its content is unchanged.
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(reference); err == nil {
		t.Error("a stopped registry answers")
	}
	if err := r.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	_, port, _ := strings.Cut(r.Host(), ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir, Port: number})
	if again.Host() != r.Host() {
		t.Errorf("started again at %s, want %s", again.Host(), r.Host())
	}
	if got, err := pull(reference); err != nil || got != digest(t, image) {
		t.Errorf("started again: pulled %s, %v", got, err)
	}
}

// TestIndex: the registry accepts an index from testimage, and refuses one that is
// corrupted on the way.
func TestIndex(t *testing.T) {
	r := start(t, Options{Dir: t.TempDir()})
	reference, err := name.ParseReference(r.Host() + "/proxy:3.0")
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{}
	for _, arch := range []string{"arm64", "amd64"} {
		spec, _, err := testimage.HAProxy{Line: "3.0", Arch: arch, Fixtures: true}.Official(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if images[arch], err = testimage.Build(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	index, err := testimage.IndexWithAttestations(images["amd64"], images["arm64"])
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(reference, index); err != nil {
		t.Fatal(err)
	}
	for arch, image := range images {
		if got, err := pull(reference, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch})); err != nil || got != digest(t, image) {
			t.Errorf("%s: pulled %s, %v; pushed %s", arch, got, err, digest(t, image))
		}
	}

	spec := testimage.Spec{Layers: []testimage.Layer{{Files: []testimage.File{testimage.Noise("/noise", 1000, 1)}}}}
	image, err := testimage.Build(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if image, err = testimage.CorruptLayer(image, 0); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image); err == nil {
		t.Error("the registry took a layer that does not match its digest")
	}
}

func TestUsers(t *testing.T) {
	r := start(t, Options{Dir: t.TempDir(), Users: map[string]string{"robot": "right", "other": "also"}})
	_, reference := push(t, r, remote.WithAuth(&authn.Basic{Username: "robot", Password: "right"}))
	if _, err := pull(reference, remote.WithAuth(&authn.Basic{Username: "other", Password: "also"})); err != nil {
		t.Errorf("a second user: %v", err)
	}
	for name, auth := range map[string]authn.Authenticator{
		"nobody":           authn.Anonymous,
		"a wrong password": &authn.Basic{Username: "robot", Password: "wrong"},
	} {
		_, err := pull(reference, remote.WithAuth(auth))
		var refusal *transport.Error
		if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: error is %v, want 401", name, err)
		}
	}
}

func TestBrokenBlobs(t *testing.T) {
	r := start(t, Options{Dir: t.TempDir()})
	image, reference := push(t, r)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CorruptBlob(digest(t, layers[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(reference); err == nil || !strings.Contains(err.Error(), "verifying sha256") {
		t.Errorf("a corrupt blob: error is %v, want one of its digest", err)
	}
	if err := r.RemoveBlob(digest(t, layers[0])); err != nil {
		t.Fatal(err)
	}
	_, err = pull(reference)
	var refusal *transport.Error
	if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusNotFound {
		t.Errorf("a missing blob: error is %v, want 404", err)
	}
	if err := r.CorruptBlob(digest(t, layers[0])); err == nil {
		t.Error("corrupted a blob that is not there")
	}
}

func TestStartFails(t *testing.T) {
	r := start(t, Options{Dir: t.TempDir()})
	_, port, _ := strings.Cut(r.Host(), ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(os.Getenv("CAPVET_REGISTRY_TOOLS"), "registry")
	for name, options := range map[string]Options{
		"a port in use": {Binary: binary, Dir: t.TempDir(), Port: number},
		"no executable": {Binary: filepath.Join(t.TempDir(), "none"), Dir: t.TempDir()},
	} {
		if second, err := Start(t.Context(), options); err == nil {
			t.Errorf("%s: no error", name)
			if err := second.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
