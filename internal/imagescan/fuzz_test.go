package imagescan

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
)

// fuzzedDigest is a well-formed digest.
const fuzzedDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// seedBounded adds the documents at their bounds, on a small scale.
func seedBounded(f *testing.F, config bool) {
	f.Helper()
	for _, b := range bounded {
		if b.config == config {
			f.Add([]byte(b.document(3)))
		}
	}
}

// checkDocument checks the class of an error, and the memory that parsing raw
// allocated.
func checkDocument(t *testing.T, raw []byte, parse func() error) (ok bool) {
	t.Helper()
	var err error
	got := allocated(func() { err = parse() })
	if limit := int64(allocatedBytes + allocatedPerByte*len(raw)); got > limit {
		t.Errorf("%d bytes allocate %d, the limit is %d", len(raw), got, limit)
	}
	if err != nil && !errors.Is(err, imagefs.ErrMalformed) && !errors.Is(err, imagefs.ErrTooLarge) {
		t.Errorf("an error of no class: %v", err)
	}
	if err != nil && len(err.Error()) > 2*maxTokenBytes {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	return err == nil
}

// FuzzManifest: a manifest is read as go-containerregistry reads it, or refused.
func FuzzManifest(f *testing.F) {
	seedBounded(f, false)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":` +
		`"application/vnd.oci.image.config.v1+json","digest":"` + fuzzedDigest + `","size":2},"layers":[{"digest":"` + fuzzedDigest +
		`","size":3,"annotations":{"containerd.io/snapshot/stargz/toc.digest":"` + fuzzedDigest + `"}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got *manifest
		parse := func() (err error) {
			got, err = parseManifest(registry.Manifest{Raw: raw}, layers.DefaultLayers)
			return err
		}
		if !checkDocument(t, raw, parse) || got.mediaType.IsIndex() {
			return
		}
		want, err := v1.ParseManifest(bytes.NewReader(raw))
		if err != nil {
			return // over a field that is not used
		}
		if len(got.layers) != len(want.Layers) || got.config.digest != want.Config.Digest || got.config.size != want.Config.Size {
			t.Fatalf("%+v, want %+v", got, want)
		}
		for i, l := range got.layers {
			if w := want.Layers[i]; l.digest != w.Digest || l.size != w.Size || l.foreign == w.MediaType.IsDistributable() ||
				l.toc != layers.ParseTOC(w) {
				t.Errorf("layer %d is %+v, want %+v", i, l, w)
			}
		}
	})
}

// FuzzIndex: an index is read as go-containerregistry reads it, or refused.
func FuzzIndex(f *testing.F) {
	seedBounded(f, false)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + fuzzedDigest +
		`","size":2,"platform":{"os":"linux","architecture":"arm64","variant":"v8"},"annotations":{"vnd.docker.reference.type":"x"}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got *manifest
		parse := func() (err error) {
			got, err = parseManifest(registry.Manifest{Raw: raw, MediaType: types.OCIImageIndex}, layers.DefaultLayers)
			return err
		}
		if !checkDocument(t, raw, parse) {
			return
		}
		want, err := v1.ParseIndexManifest(bytes.NewReader(raw))
		if err != nil {
			return // over a field that is not used
		}
		if len(got.entries) != len(want.Manifests) {
			t.Fatalf("%d entries, want %d", len(got.entries), len(want.Manifests))
		}
		for i, e := range got.entries {
			w := want.Manifests[i]
			if e.digest != w.Digest || e.mediaType != w.MediaType || e.attestation != (w.Annotations[annotationAttests] != "") ||
				(e.platform == nil) != (w.Platform == nil) || e.platform != nil && e.platform.String() != w.Platform.String() {
				t.Errorf("entry %d is %+v, want %+v", i, e, w)
			}
		}
	})
}

// FuzzConfiguration: a configuration is read as go-containerregistry reads it, or
// refused.
func FuzzConfiguration(f *testing.F) {
	seedBounded(f, true)
	f.Add([]byte(`{"os":"linux","architecture":"arm64","config":{"User":"u","Env":["PATH=/bin"],"Entrypoint":["haproxy"],"Cmd":["-f"],` +
		`"WorkingDir":"/","Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":["` + fuzzedDigest +
		`"]},"history":[{"created_by":"RUN x","comment":"c"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got *configuration
		parse := func() (err error) {
			got, err = parseConfiguration(raw, layers.DefaultLayers, func(text string) bool { return strings.Contains(text, "haproxy") })
			return err
		}
		if !checkDocument(t, raw, parse) {
			return
		}
		want, err := v1.ParseConfigFile(bytes.NewReader(raw))
		if err != nil {
			return // over a field that is not used
		}
		if got.platform.OS != want.OS || got.platform.Architecture != want.Architecture || got.User != want.Config.User ||
			len(got.Entrypoint) != len(want.Config.Entrypoint) || len(got.Command) != len(want.Config.Cmd) ||
			len(got.diffIDs) != len(want.RootFS.DiffIDs) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}
