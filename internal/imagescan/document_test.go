package imagescan

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/registry"
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
	return int64(after.TotalAlloc - before.TotalAlloc) //nolint:gosec // far below 2^63
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
