package testimage

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/capvet/capvet/test/debian"
)

// fixture is an image spec without external inputs.
func fixture(t *testing.T, arch string) (Spec, Origin) {
	t.Helper()
	spec, origin, err := HAProxy{Line: "3.0", Arch: arch, Fixtures: true}.Official(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return spec, origin
}

func build(t *testing.T, spec Spec) v1.Image {
	t.Helper()
	image, err := Build(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// entries lists a layer's entries, a link with its target.
func entries(t *testing.T, layer v1.Layer) []string {
	t.Helper()
	stream, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var names []string
	for files := tar.NewReader(stream); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		name := header.Name
		if header.Linkname != "" {
			name += " -> " + header.Linkname
		}
		names = append(names, name)
	}
}

func top(t *testing.T, image v1.Image) v1.Layer {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers[len(layers)-1]
}

func TestBuild(t *testing.T) {
	spec, origin := fixture(t, "arm64")
	image := build(t, spec)
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "arm64" || config.OS != "linux" || config.Config.User != "99" {
		t.Errorf("config is %s/%s, user %s", config.OS, config.Architecture, config.Config.User)
	}
	if diff := cmp.Diff([]string{"docker-entrypoint.sh"}, config.Config.Entrypoint); diff != "" {
		t.Errorf("entry point (-want +got):\n%s", diff)
	}
	layers := 0
	for _, line := range config.History {
		if !line.EmptyLayer {
			layers++
		}
	}
	if layers != 3 || len(config.History) <= layers {
		t.Errorf("history is %+v", config.History)
	}
	all, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"usr/local/sbin/haproxy", "usr/local/etc/haproxy/"}, entries(t, all[1])); diff != "" {
		t.Errorf("proxy layer (-want +got):\n%s", diff)
	}
	if origin.Version != "3.0.99-fixture" || origin.Fallback != nil {
		t.Errorf("origin is %s, fallback %v", origin.Version, origin.Fallback)
	}
}

func TestBuildIsDeterministic(t *testing.T) {
	spec, _ := fixture(t, "arm64")
	spec = spec.With(Layer{Files: []File{Noise("/noise", 1000, 1), Zeros("/zeros", 1000)}, MediaType: types.OCILayerZStd})
	first, err := build(t, spec).Digest()
	if err != nil {
		t.Fatal(err)
	}
	second, err := build(t, spec).Digest()
	if err != nil || first != second {
		t.Errorf("%s then %s, %v", first, second, err)
	}
}

func TestSpecials(t *testing.T) {
	spec, origin := fixture(t, "arm64")
	for name, test := range map[string]struct {
		spec Spec
		want []string
	}{
		"removed": {spec.Without(OfficialPath), []string{"usr/local/sbin/.wh.haproxy"}},
		"moved": {spec.Moved(DistributionPath, origin.Executable),
			[]string{"usr/sbin/haproxy -> ../../usr/lib/haproxy-private/haproxy", "usr/lib/haproxy-private/haproxy"}},
		"opaque and hard link": {spec.With(Layer{Files: []File{Opaque("/usr/local/sbin"), {Path: "/a", Data: []byte("a")},
			{Path: "/b", Hardlink: "/a"}}}),
			[]string{"usr/local/sbin/.wh..wh..opq", "a", "b -> a"}},
		"oversized": {spec.With(Layer{Files: []File{Zeros("/zeros", 10<<20)}}), []string{"zeros"}},
		"zstd":      {spec.With(Layer{Files: []File{{Path: "/d", Mode: fs.ModeDir}}, MediaType: types.OCILayerZStd}), []string{"d/"}},
	} {
		t.Run(name, func(t *testing.T) {
			image := build(t, test.spec)
			// validate takes every layer for gzip.
			if mediaType, err := top(t, image).MediaType(); err != nil || mediaType != types.OCILayerZStd {
				if err := errors.Join(err, validate.Image(image)); err != nil {
					t.Error(err)
				}
			}
			if diff := cmp.Diff(test.want, entries(t, top(t, image))); diff != "" {
				t.Errorf("top layer (-want +got):\n%s", diff)
			}
		})
	}
	if len(spec.Layers) != 3 {
		t.Errorf("the spec itself now has %d layers", len(spec.Layers))
	}
	if _, err := Build(t.Context(), Spec{Layers: []Layer{{MediaType: "text/plain"}}}); err == nil {
		t.Error("a layer of a media type that is none")
	}
}

func TestIndex(t *testing.T) {
	arm, _ := fixture(t, "arm64")
	amd, _ := fixture(t, "amd64")
	index, err := IndexWithAttestations(build(t, arm), build(t, amd))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, descriptor := range manifest.Manifests {
		platforms = append(platforms, descriptor.Platform.String())
	}
	if diff := cmp.Diff([]string{"linux/arm64", "unknown/unknown", "linux/amd64", "unknown/unknown"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	if got, want := manifest.Manifests[1].Annotations["vnd.docker.reference.digest"], manifest.Manifests[0].Digest.String(); got != want {
		t.Errorf("the attestation is for %s, want %s", got, want)
	}

	statement, err := index.Image(manifest.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if attested, err := statement.Manifest(); err != nil || len(attested.Layers) != 1 ||
		attested.Layers[0].MediaType != "application/vnd.in-toto+json" {
		t.Errorf("the attestation's manifest: %+v, %v", attested, err)
	}

	single, err := Index(build(t, amd))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(single); err != nil {
		t.Error(err)
	}
	if manifest, err = single.IndexManifest(); err != nil || len(manifest.Manifests) != 1 ||
		manifest.Manifests[0].Platform.Architecture != "amd64" {
		t.Errorf("an index of one: %+v, %v", manifest, err)
	}
}

func TestCorruptLayer(t *testing.T) {
	spec, _ := fixture(t, "arm64")
	image := build(t, spec)
	corrupt, err := CorruptLayer(image, 1)
	if err != nil {
		t.Fatal(err)
	}
	before, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	after, err := corrupt.Digest()
	if err != nil || before != after {
		t.Errorf("digest %s, %v, want %s: only the bytes are wrong", after, err, before)
	}
	if err := validate.Image(image); err != nil {
		t.Errorf("the image itself: %v", err)
	}
	if err := validate.Image(corrupt); err == nil {
		t.Error("the corrupt image is valid")
	}
	if _, err := CorruptLayer(image, 3); err == nil {
		t.Error("corrupted a layer that is not there")
	}
}

func TestFallback(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, line := range []string{"3.0", "3.2"} {
		spec, origin, err := HAProxy{Line: line, Arch: "arm64", CacheDir: t.TempDir()}.Distribution(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(origin.Fallback, debian.ErrNoApt) || origin.Version != line+".99-fixture" {
			t.Errorf("%s: version %s, fallback %v", line, origin.Version, origin.Fallback)
		}
		build(t, spec)
	}
	_, _, err := HAProxy{Line: "2.6", Arch: "arm64", CacheDir: t.TempDir()}.Official(t.Context())
	if !errors.Is(err, debian.ErrUnavailable) {
		t.Errorf("2.6, which has no stand-in: %v", err)
	}
	if _, _, err := (HAProxy{Line: "1.0", Arch: "arm64"}).Official(t.Context()); err == nil {
		t.Error("a line that is not known")
	}
}
