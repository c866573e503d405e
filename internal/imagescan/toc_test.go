package imagescan

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/capvet/capvet/internal/report"
)

// indexed is a layer with a table of contents.
type indexed struct {
	stored      []byte
	annotations map[string]string
}

// withEStargz writes a layer with stargz-snapshotter, in chunks of the given size.
func withEStargz(t testing.TB, archive []byte, chunk, together int) indexed {
	t.Helper()
	var b bytes.Buffer
	w := estargz.NewWriter(&b)
	w.ChunkSize, w.MinChunkSize = chunk, together
	if err := w.AppendTar(bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	digest, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return indexed{b.Bytes(), map[string]string{annotationEStargz: digest.String()}}
}

// withZstdChunked writes a layer as zstd:chunked; stargz-snapshotter's writer
// has other names for the annotations.
func withZstdChunked(t testing.TB, archive []byte, chunk int) indexed {
	t.Helper()
	var b bytes.Buffer
	metadata := map[string]string{}
	w := estargz.NewWriterWithCompressor(&b, &zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault, Metadata: metadata})
	w.ChunkSize = chunk
	if err := w.AppendTar(bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return indexed{b.Bytes(), map[string]string{
		annotationZstdChecksum: metadata[zstdchunked.ManifestChecksumAnnotation],
		annotationZstdPosition: metadata[zstdchunked.ManifestPositionAnnotation],
	}}
}

// withTable writes an eStargz layer with the given table.
func withTable(t testing.TB, archive, table []byte) indexed {
	t.Helper()
	var b bytes.Buffer
	b.Write(gzipped(archive))
	at := b.Len()
	var contents bytes.Buffer
	w := tar.NewWriter(&contents)
	if err := w.WriteHeader(&tar.Header{Name: estargzTOC, Typeflag: tar.TypeReg, Size: int64(len(table))}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(table)
	_ = w.Close()
	b.Write(gzipped(contents.Bytes()))
	b.Write(footerOf(t, int64(at)))
	return indexed{b.Bytes(), map[string]string{annotationEStargz: fmt.Sprintf("sha256:%x", sha256.Sum256(table))}}
}

func footerOf(t testing.TB, at int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Extra = fmt.Appendf([]byte{'S', 'G', 22, 0}, "%016xSTARGZ", at)
	_ = w.Close()
	if b.Len() != estargzFooter {
		t.Fatalf("a footer of %d bytes", b.Len())
	}
	return b.Bytes()
}

func imageWith(t testing.TB, layers ...indexed) v1.Image {
	t.Helper()
	image := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	for _, l := range layers {
		var err error
		image, err = mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(l.stored, types.OCILayer), Annotations: l.annotations})
		if err != nil {
			t.Fatal(err)
		}
	}
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: "arm64", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// ranges counts the requests for whole blobs and for ranges.
type ranges struct{ full, part atomic.Int64 }

func (c *ranges) count(layers ...indexed) func(http.ResponseWriter, *http.Request) bool {
	of := map[string]bool{}
	for _, l := range layers {
		of[fmt.Sprintf("sha256:%x", sha256.Sum256(l.stored))] = true
	}
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if of[path.Base(r.URL.Path)] && r.Method == http.MethodGet {
			if r.Header.Get("Range") == "" {
				c.full.Add(1)
			} else {
				c.part.Add(1)
			}
		}
		return false
	}
}

func throughTOC(o *setup) { o.TOC, o.Limits.TOCFrom = true, 1 }

// TestTOC: a layer with a table of contents of either format is read through it, and
// only the selected files are fetched.
func TestTOC(t *testing.T) {
	s := newServer(t)
	long := "v1" + strings.Repeat("0123456789", 100)
	content := archive("usr/", "", "usr/a", noise(t, 50_000), "usr/sbin/", "", "usr/sbin/haproxy", long, "usr/z", noise(t, 50_000))
	for name, layer := range map[string]indexed{
		"eStargz":                  withEStargz(t, content, 0, 0),
		"eStargz, in chunks":       withEStargz(t, content, 100, 0),
		"eStargz, chunks together": withEStargz(t, content, 100, 200),
		"eStargz, files together":  withEStargz(t, content, 0, 200_000),
		"zstd:chunked":             withZstdChunked(t, content, 0),
		"zstd:chunked, in chunks":  withZstdChunked(t, content, 100),
		"a table that says what it has to": withTable(t, content,
			[]byte(`{"entries":[{"name":"haproxy","type":"symlink","linkName":"x"},
				{"name":"usr/sbin/haproxy","type":"hardlink","linkName":"x"},{"name":"x","type":"reg"}]}`)),
	} {
		t.Run(name, func(t *testing.T) {
			ref := s.push(t, "tables:x", imageWith(t, layer))
			c := &ranges{}
			s.fail(c.count(layer))
			r, err := scan(t, newScanner(t, s, nil, throughTOC), ref)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"/usr/sbin/haproxy=" + long}
			if strings.HasPrefix(name, "a table") {
				want = []string{"/usr/sbin/haproxy=", "/x="}
			}
			if diff := cmp.Diff(want, binaries(r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{digest(t, layer.stored)}, r.ThroughTable); diff != "" || !r.Complete {
				t.Errorf("complete %v, through its table (-want +got):\n%s", r.Complete, diff)
			}
			if c.full.Load() != 0 || c.part.Load() == 0 {
				t.Errorf("read %d times in full, %d in part", c.full.Load(), c.part.Load())
			}
			full, err := scan(t, newScanner(t, s, nil, nil), ref)
			if err != nil || c.full.Load() != 1 || full.ThroughTable != nil ||
				cmp.Diff([]string{"/usr/sbin/haproxy=" + long}, binaries(full)) != "" {
				t.Errorf("without being told to: %v, %v, %v", binaries(full), full.ThroughTable, err)
			}
		})
	}
}

// TestTOCLikeInFull: random images give the same report through tables of contents
// and in full.
func TestTOCLikeInFull(t *testing.T) {
	s := newServer(t)
	inTables, verdicts := 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		var layers []indexed
		for range 1 + r.IntN(4) {
			content := randomArchive(r)
			switch r.IntN(4) {
			case 0:
				layers = append(layers, withZstdChunked(t, content, 1+r.IntN(8)))
			case 1:
				layers = append(layers, indexed{stored: gzipped(content)})
			default:
				layers = append(layers, withEStargz(t, content, 1+r.IntN(8), r.IntN(2)*20))
			}
		}
		ref := s.push(t, fmt.Sprintf("random:%d", seed), imageWith(t, layers...))
		full, err := scan(t, newScanner(t, s, nil, nil), ref)
		if err != nil {
			t.Fatal(err)
		}
		through, err := scan(t, newScanner(t, s, nil, throughTOC), ref)
		if err != nil {
			t.Fatal(err)
		}
		inTables, verdicts = inTables+len(through.ThroughTable), verdicts+len(full.Binaries)
		through.ThroughTable = nil
		if diff := cmp.Diff(full, through); diff != "" {
			t.Errorf("seed %d (-in full +through tables):\n%s", seed, diff)
		}
	}
	if inTables < 60 || verdicts < 30 {
		t.Errorf("%d layers were read through tables, %d verdicts compared: too few to prove anything", inTables, verdicts)
	}
}

// randomArchive returns a layer of all kinds of entries, some of them repeated.
func randomArchive(r *rand.Rand) []byte {
	name := func() string {
		names := make([]string, 1+r.IntN(3))
		for i := range names {
			names[i] = []string{"a", "b", "haproxy"}[r.IntN(3)]
		}
		return strings.Join(names, "/")
	}
	var files []string
	for range 1 + r.IntN(6) {
		switch n := name(); r.IntN(6) {
		case 0:
			files = append(files, n+"/", "")
		case 1:
			files = append(files, n, "->"+name())
		case 2:
			files = append(files, n, "=>"+name())
		case 3:
			files = append(files, path.Join(path.Dir(n), ".wh."+path.Base(n)), "")
		default:
			files = append(files, n, fmt.Sprintf("v%d of %d", r.IntN(4), r.Uint64()))
		}
	}
	return archive(files...)
}

// TestTOCFallback: a layer with a broken table or ranges is read in full, and the
// attempt leaves no goroutine or memory behind.
func TestTOCFallback(t *testing.T) {
	s := newServer(t)
	content := archive("usr/sbin/haproxy", "v1 in the stream")
	good, packed := withEStargz(t, content, 0, 0), withZstdChunked(t, content, 0)
	annotated := func(l indexed, key, value string) indexed {
		l.annotations = map[string]string{key: value}
		for k, v := range good.annotations {
			if k != key && l.annotations[k] == "" {
				l.annotations[k] = v
			}
		}
		return l
	}
	zstdAt := func(position string) indexed {
		return indexed{packed.stored, map[string]string{annotationZstdChecksum: packed.annotations[annotationZstdChecksum],
			annotationZstdPosition: position}}
	}
	listed := func(fields string) indexed {
		return withTable(t, content, []byte(`{"entries":[{"name":"usr/sbin/haproxy","type":"reg",`+fields+`}]}`))
	}
	zero := "sha256:" + strings.Repeat("0", 64)
	whole := fmt.Sprintf("%x", sha256.Sum256([]byte("v1 in the stream")))
	bomb, err := json.Marshal(map[string]string{"x": strings.Repeat("x", 3<<20)})
	if err != nil {
		t.Fatal(err)
	}
	noRange := func(w http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Range")
		return false
	}
	refuse := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}
		return false
	}
	shifted := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-50/%d", len(good.stored)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(good.stored[:51])
			return true
		}
		return false
	}
	garbage := func(w http.ResponseWriter, r *http.Request) bool {
		var from, to int64
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 && to < int64(len(good.stored))-estargzFooter {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(good.stored)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.CopyN(w, zeroes{}, to-from+1)
			return true
		}
		return false
	}
	for name, tt := range map[string]struct {
		layer indexed
		fault func(http.ResponseWriter, *http.Request) bool
	}{
		"no annotation":             {layer: indexed{stored: good.stored}},
		"another digest":            {layer: annotated(good, annotationEStargz, zero)},
		"no digest":                 {layer: annotated(good, annotationEStargz, "x")},
		"a weak digest":             {layer: annotated(good, annotationEStargz, "md5:d41d8cd98f00b204e9800998ecf8427e")},
		"both forms":                {layer: annotated(good, annotationZstdChecksum, zero)},
		"no footer":                 {layer: indexed{gzipped(content), good.annotations}},
		"a footer past the end":     {layer: indexed{append(gzipped(content), footerOf(t, 1<<40)...), good.annotations}},
		"a footer before the start": {layer: indexed{append(gzipped(content), footerOf(t, 0)...), good.annotations}},
		"a huge entry":              {layer: withTable(t, content, bomb)},
		"no JSON":                   {layer: withTable(t, content, []byte("x"))},
		"a file that is not there":  {layer: listed(`"size":3,"offset":1,"digest":"` + zero + `"`)},
		"a file beside where it is": {layer: listed(`"size":16,"offset":0,"endOffset":9,"digest":"sha256:` + whole + `"`)},
		"a file without a digest":   {layer: listed(`"size":3,"offset":1`)},
		"zstd: another digest": {layer: indexed{packed.stored,
			map[string]string{annotationZstdChecksum: zero, annotationZstdPosition: packed.annotations[annotationZstdPosition]}}},
		"zstd: no position":            {layer: zstdAt("")},
		"zstd: past the end":           {layer: zstdAt("10:99999999:10:1")},
		"zstd: overflowing":            {layer: zstdAt("9223372036854775807:10:10:1")},
		"zstd: huge":                   {layer: zstdAt("10:10:9223372036854775807:1")},
		"zstd: another kind":           {layer: zstdAt(strings.TrimSuffix(packed.annotations[annotationZstdPosition], "1") + "2")},
		"a registry without ranges":    {good, noRange},
		"a registry that refuses them": {good, refuse},
		"other ranges":                 {good, shifted},
		"other content":                {good, garbage},
	} {
		t.Run(name, func(t *testing.T) {
			s.fail(nil)
			ref := s.push(t, "fails:x", imageWith(t, tt.layer))
			s.fail(tt.fault)
			before := goleak.IgnoreCurrent()
			scanner := newScanner(t, s, nil, throughTOC)
			r, err := scan(t, scanner, ref)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"/usr/sbin/haproxy=v1 in the stream"}, binaries(r)); diff != "" || r.ThroughTable != nil || !r.Complete {
				t.Errorf("through its table: %v (-want +got):\n%s", r.ThroughTable, diff)
			}
			idle(t, s, scanner, before)
		})
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestTOCsAreNotShared: two images may name different tables for one layer, and
// share no summary of it.
func TestTOCsAreNotShared(t *testing.T) {
	s := newServer(t)
	honest := withEStargz(t, archive("haproxy", "v1 as it is"), 0, 0)
	lying := indexed{honest.stored, nil}
	first := s.push(t, "shared:first", imageWith(t, honest))
	second := s.push(t, "shared:second", imageWith(t, lying))
	scanner := newScanner(t, s, nil, throughTOC)
	for _, tt := range []struct {
		ref     string
		through int
	}{{first, 1}, {second, 0}, {first, 1}} {
		r, err := scan(t, scanner, tt.ref)
		if err != nil || len(r.ThroughTable) != tt.through || r.Worst() != report.ABIV1 {
			t.Errorf("%s: through %v, %v, %v", tt.ref, r.ThroughTable, r.Worst(), err)
		}
	}
}

// TestTOCReadAgain: if a link from another layer selects a file of a layer with a
// table, only that file is fetched.
func TestTOCReadAgain(t *testing.T) {
	s := newServer(t)
	base := withEStargz(t, archive("opt/bin", "v1 behind a link", "haproxy", "v3"), 0, 0)
	top := withZstdChunked(t, archive("usr/haproxy", "->/opt/bin"), 0)
	ref := s.push(t, "again:x", imageWith(t, base, top))
	c, f := &ranges{}, &fake{}
	s.fail(c.count(base, top))
	r, err := scan(t, newScanner(t, s, f, throughTOC), ref)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/haproxy=v3", "/opt/bin=v1 behind a link"}, binaries(r)); diff != "" || c.full.Load() != 0 ||
		f.calls.Load() != 2 || len(r.ThroughTable) != 2 {
		t.Errorf("%d times in full, %d analyses, through %v (-want +got):\n%s", c.full.Load(), f.calls.Load(), r.ThroughTable, diff)
	}
}
