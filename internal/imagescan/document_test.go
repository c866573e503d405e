package imagescan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
	"github.com/capvet/capvet/internal/report"
)

// repeated returns n times a text, separated by commas.
func repeated(n int, text string) string {
	return strings.TrimSuffix(strings.Repeat(text+",", n), ",")
}

// members returns n members of an object, each with the value.
func members(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%d":%s,`, i, value)
	}
	return strings.TrimSuffix(b.String(), ",")
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// bounded are documents with a list, object or string of n parts.
var bounded = []struct {
	name     string
	config   bool
	limit    int
	document func(n int) string
}{
	{"layers", false, layers.DefaultLayers, func(n int) string { return `{"layers":[` + repeated(n, "{}") + `]}` }},
	{"manifests", false, maxEntries, func(n int) string { return `{"manifests":[` + repeated(n, "{}") + `]}` }},
	{"annotations", false, maxMembers, func(n int) string { return `{"layers":[{"annotations":{` + members(n, `""`) + `}}]}` }},
	{"members", false, maxMembers, func(n int) string { return `{` + members(n, "0") + `}` }},
	{"nested", false, maxNesting - 1, func(n int) string { return `{"x":` + nested(n) + `}` }},
	{"parts", false, maxSkipped - 2, func(n int) string { return `{"x":[` + repeated(n, "0") + `]}` }},
	{"mediaType", false, maxTokenBytes, func(n int) string { return `{"mediaType":"` + strings.Repeat("x", n) + `"}` }},
	{"Env", true, maxWords, func(n int) string { return `{"config":{"Env":[` + repeated(n, `""`) + `]}}` }},
	{"Cmd", true, maxWords, func(n int) string { return `{"config":{"Cmd":[` + repeated(n, `""`) + `]}}` }},
	{"Entrypoint", true, maxWords, func(n int) string { return `{"config":{"Entrypoint":[` + repeated(n, `""`) + `]}}` }},
	{"Cmd/0", true, maxWordBytes, func(n int) string { return `{"config":{"Cmd":["` + strings.Repeat("x", n) + `"]}}` }},
	{"Labels", true, maxMembers, func(n int) string { return `{"config":{"Labels":{` + members(n, `""`) + `}}}` }},
	{"history", true, maxHistory, func(n int) string { return `{"history":[` + repeated(n, "{}") + `]}` }},
	{"diff_ids", true, layers.DefaultLayers, func(n int) string {
		return `{"rootfs":{"diff_ids":[` + repeated(n, `"sha256:`+strings.Repeat("0", 64)+`"`) + `]}}`
	}},
}

func parse(config bool, document string) error {
	if config {
		_, err := parseConfiguration([]byte(document), layers.DefaultLayers, nil)
		return err
	}
	_, err := parseManifest(registry.Manifest{Raw: []byte(document)}, layers.DefaultLayers)
	return err
}

// TestDocumentBounds: a list, an object or a string may have as many parts as its
// limit and no more. The error names it and the limit.
func TestDocumentBounds(t *testing.T) {
	for _, tt := range bounded {
		if err := parse(tt.config, tt.document(tt.limit)); err != nil {
			t.Errorf("%s, at the limit: %v", tt.name, err)
		}
		err := parse(tt.config, tt.document(tt.limit+1))
		if !errors.Is(err, imagefs.ErrTooLarge) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		named := strings.Contains(err.Error(), tt.name) || tt.name == "annotations" || tt.name == "members"
		if !named || !strings.Contains(err.Error(), "the limit is ") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// A document may allocate allocatedBytes, and allocatedPerByte for each of its
// own bytes.
const (
	allocatedBytes   = 1 << 20
	allocatedPerByte = 48
)

// TestDocumentMemory: what a document allocates grows with its bytes at most,
// whatever its elements.
func TestDocumentMemory(t *testing.T) {
	for _, tt := range bounded {
		for _, n := range []int{tt.limit, 200_000, 400_000} {
			document := tt.document(n)
			got := allocated(func() { _ = parse(tt.config, document) })
			if limit := int64(allocatedBytes + allocatedPerByte*min(len(document), 1<<20)); got > limit {
				t.Errorf("%s: %d parts in %d bytes allocate %d, the limit is %d", tt.name, n, len(document), got, limit)
			}
		}
	}
}

// memorySource holds one manifest, which is also its configuration.
type memorySource []byte

func (m memorySource) Manifest(ctx context.Context, _ string, reserve registry.Reserve) (registry.Manifest, error) {
	raw, release, err := registry.ReadDocument(ctx, bytes.NewReader(m), -1, registry.MaxManifestBytes, reserve)
	return registry.Manifest{Raw: raw, Release: release}, err
}

func (m memorySource) Blob(context.Context, v1.Hash) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m)), nil
}

// TestLargeDocumentsShareTheMemory: a large manifest or configuration waits for its
// part of the memory of scans, and returns it once decoded.
func TestLargeDocumentsShareTheMemory(t *testing.T) {
	large := []byte(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`)
	digest, _, err := v1.SHA256(bytes.NewReader(large))
	if err != nil {
		t.Fatal(err)
	}
	scanner := newScanner(t, nil, nil, nil)
	docs := scanner.documentsOf(memorySource(large))
	for name, read := range map[string]func(context.Context) error{
		"manifest": func(ctx context.Context) error {
			_, err := docs.manifest(ctx, "x", "")
			return err
		},
		"configuration": func(ctx context.Context) error {
			_, err := docs.configuration(ctx, descriptor{digest: digest, size: int64(len(large))})
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			release, err := scanner.fileBudget.Acquire(withOwner(t.Context(), "other"), scanner.options.Limits.Memory/2)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := read(ctx); classify(err) != report.FailureTimeout {
				t.Errorf("%s, without memory: %v", name, err)
			}
			release()
			if err := read(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if held, waiting := scanner.fileBudget.load(); held != 0 || waiting != 0 {
				t.Errorf("%s: %d bytes held, %d wait", name, held, waiting)
			}
		})
	}
}

// TestHostileDocuments: an image whose manifest or configuration is beyond a bound
// is too large, before any layer is read.
func TestHostileDocuments(t *testing.T) {
	s := newServer(t)
	layer := gzipped(archive("haproxy", "a"))
	history := make([]v1.History, maxHistory+1)
	for i := range history {
		history[i].EmptyLayer = true
	}
	image := imageOf(t, "arm64", layer)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.History = history
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	long := s.push(t, "long:config", image)
	wide := s.push(t, "wide:manifest", raw{[]byte(`{"schemaVersion":2,"layers":[` + repeated(layers.DefaultLayers+1, "{}") + `]}`),
		types.OCIManifestSchema1})
	for ref, want := range map[string]string{long: "/history", wide: "/layers"} {
		s.fail(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, digest(t, layer)) {
				t.Errorf("%s: the layer was read", ref)
			}
			return false
		})
		_, err := newScanner(t, s, nil, nil).Scan(t.Context(), Request{Reference: ref, Platform: "linux/arm64"})
		if class(err) != report.FailureTooLarge || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the limit is") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestMalformedDocuments: readers may read these in different ways, or not at all.
func TestMalformedDocuments(t *testing.T) {
	for _, document := range []string{
		"", "[]", "1", `{"layers":[]`, `{}{}`, `{"layers":{}}`, `{"layers":[1]}`, `{"layers":[],"manifests":[]}`,
		`{"layers":[],"layers":[]}`, `{"layers":[],"LAYERS":[]}`, `{"layers":[{"digest":"sha256:0"}]}`, `{"layers":[{"size":1.5}]}`,
		`{"layers":[{"size":"1"}]}`, `{"layers":[{"size":9223372036854775808}]}`, `{"mediaType":1}`, `{"manifests":[{"platform":[]}]}`,
		`{"layers":[{"annotations":{"a":1}}]}`, strings.Repeat("[", 20_000),
	} {
		if err := parse(false, document); !errors.Is(err, imagefs.ErrMalformed) {
			t.Errorf("%.80s: %v", document, err)
		}
	}
	for _, document := range []string{`{"config":{"Cmd":"x"}}`, `{"config":{"Env":[1]}}`, `{"history":{}}`, `{"rootfs":{"diff_ids":["x"]}}`} {
		if err := parse(true, document); !errors.Is(err, imagefs.ErrMalformed) {
			t.Errorf("%s: %v", document, err)
		}
	}
}

// TestNamesAsRuntimesRead: letter case is ignored and null is an absent value, as in
// encoding/json.
func TestNamesAsRuntimesRead(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	m, err := parseManifest(registry.Manifest{Raw: []byte(`{"MEDIATYPE":"` + string(types.OCIManifestSchema1) +
		`","Layers":[{"Digest":"` + digest + `","SIZE":7,"annotations":null}],"config":null}`)}, 1)
	if err != nil || len(m.layers) != 1 || m.layers[0].size != 7 || m.mediaType != types.OCIManifestSchema1 {
		t.Errorf("%+v, %v", m, err)
	}
	c, err := parseConfiguration([]byte(`{"OS":"linux","Config":{"cmd":["a"],"env":["PATH=/x","PATH=/y"],"labels":null}}`), 1, nil)
	if err != nil || c.platform.OS != "linux" || len(c.Command) != 1 || c.Path != "/y" {
		t.Errorf("%+v, %v", c, err)
	}
}
