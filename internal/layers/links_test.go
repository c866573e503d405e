package layers_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/report"
)

// packed returns a compressed layer with the given entries. Content is "a" for
// a regular file.
func packed(tb testing.TB, entries ...tar.Header) []byte {
	tb.Helper()
	var stored bytes.Buffer
	zip := gzip.NewWriter(&stored)
	archive := tar.NewWriter(zip)
	for _, h := range entries {
		h.Mode = 0o755
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		err := archive.WriteHeader(&h)
		if err == nil && h.Size > 0 {
			_, err = io.WriteString(archive, "a")
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		tb.Fatal(err)
	}
	return stored.Bytes()
}

// legacyHAProxy analyses every file as a legacy HAProxy.
func legacyHAProxy() layers.Inspector {
	return layers.Inspector{
		IsCandidate: func(base string) bool { return base == "haproxy" },
		Analyze: func(io.ReaderAt, int64, string) (report.Binary, error) {
			return report.Binary{Capset: report.Capset{ABI: report.ABIV1}}, nil
		},
	}
}

// linkImage has layers of links named haproxy, each with a long target.
func linkImage(tb testing.TB, count, links int) (image layers.Image, size int) {
	tb.Helper()
	for i := range count {
		var entries []tar.Header
		for j := range links {
			entries = append(entries, tar.Header{Name: fmt.Sprintf("%d/%d/haproxy", i, j), Typeflag: tar.TypeSymlink,
				Linkname: "/" + strings.Repeat("a/", 1000) + "b"})
		}
		stored := packed(tb, entries...)
		size += len(stored)
		image.Blobs = append(image.Blobs, blobOf(tb, stored))
	}
	return image, size
}

func newReader(inspector layers.Inspector, limits layers.Limits) *layers.Reader {
	return &layers.Reader{Inspector: inspector, Limits: limits.WithDefaults(), FileBudget: unbounded{}, WindowBudget: unbounded{}}
}

// TestHostileLinks: the steps for an image's links are bounded. Past them the
// report has a gap, beside the files that were found.
func TestHostileLinks(t *testing.T) {
	image, _ := linkImage(t, 100, 60)
	image.Blobs = append(image.Blobs, blobOf(t, packed(t, tar.Header{Name: "z/haproxy", Typeflag: tar.TypeReg})))
	got, err := newReader(legacyHAProxy(), layers.Limits{}).Read(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Binaries) != 1 || got.Binaries[0].Path != "/z/haproxy" {
		t.Errorf("binaries: %+v", got.Binaries)
	}
	if got.Complete || len(got.Gaps) != 1 || got.Gaps[0].Reason != "too-large" {
		t.Errorf("complete: %v, gaps: %+v", got.Complete, got.Gaps)
	}
}

// TestManyHonestLinks: as many links to one file are no gap.
func TestManyHonestLinks(t *testing.T) {
	image := layers.Image{Blobs: []layers.Blob{blobOf(t, packed(t, tar.Header{Name: "opt/haproxy/sbin/haproxy", Typeflag: tar.TypeReg}))}}
	for i := range 100 {
		var entries []tar.Header
		for j := range 60 {
			entries = append(entries, tar.Header{Name: fmt.Sprintf("%d/%d/haproxy", i, j), Typeflag: tar.TypeSymlink,
				Linkname: "/opt/haproxy/sbin/haproxy"})
		}
		image.Blobs = append(image.Blobs, blobOf(t, packed(t, entries...)))
	}
	got, err := newReader(legacyHAProxy(), layers.Limits{}).Read(t.Context(), image)
	if err != nil || !got.Complete || len(got.Binaries) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestResultsOfAllLayers: the memory of the layers of one image is bounded
// together.
func TestResultsOfAllLayers(t *testing.T) {
	var image layers.Image
	for i := range 20 {
		var entries []tar.Header
		for j := range 100 {
			entries = append(entries, tar.Header{Name: fmt.Sprintf("%d/%d", i, j), Typeflag: tar.TypeDir})
		}
		image.Blobs = append(image.Blobs, blobOf(t, packed(t, entries...)))
	}
	reader := newReader(legacyHAProxy(), layers.Limits{})
	var all int64
	image.Summarize = func(ctx context.Context, b layers.Blob, before *layers.Summary, wanted map[string]bool) (*layers.Summary, error) {
		s, err := reader.Summarize(ctx, b, before, wanted)
		if err == nil {
			all += s.Bytes()
		}
		return s, err
	}
	reader.Limits.LayersAtOnce = 1
	if _, err := reader.Read(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int64]error{all: nil, all - 1: imagefs.ErrTooLarge} {
		reader.Limits.ResultBytes = limit
		if _, err := reader.Read(t.Context(), image); !errors.Is(err, want) {
			t.Errorf("limit of %d bytes: got %v, want %v", limit, err, want)
		}
	}
}

// manyCalls analyses every file as one with n calls.
func manyCalls(n int) layers.Inspector {
	inspector := legacyHAProxy()
	inspector.Analyze = func(io.ReaderAt, int64, string) (report.Binary, error) {
		calls := slices.Repeat([]report.Call{{Function: strings.Repeat("f", 100)}}, n)
		return report.Binary{Capset: report.Capset{ABI: report.ABIV1, Calls: calls}}, nil
	}
	inspector.Screen = func(r io.ReaderAt, size int64, path string) (report.Binary, bool, error) {
		b, err := inspector.Analyze(r, size, path)
		return b, true, err
	}
	return inspector
}

func TestSummaryCountsItsCalls(t *testing.T) {
	blob := blobOf(t, packed(t, tar.Header{Name: "haproxy", Typeflag: tar.TypeReg}))
	size := func(calls int) int64 {
		s, err := newReader(manyCalls(calls), layers.Limits{}).Summarize(t.Context(), blob, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.Bytes()
	}
	if none, many := size(0), size(1000); many-none < 200_000 {
		t.Errorf("%d bytes with 1,000 calls, %d without", many, none)
	}
}

// TestAnalysesOfOneLayer: results past the memory for them become a gap.
func TestAnalysesOfOneLayer(t *testing.T) {
	var entries []tar.Header
	for i := range 10 {
		entries = append(entries, tar.Header{Name: fmt.Sprintf("%d/haproxy", i), Typeflag: tar.TypeReg})
	}
	image := layers.Image{Blobs: []layers.Blob{blobOf(t, packed(t, entries...))}}
	got, err := newReader(manyCalls(1000), layers.Limits{ResultBytes: 1 << 20}).Read(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Binaries); n == 0 || n == 10 || len(got.Gaps) != 10-n || got.Complete {
		t.Errorf("%d binaries, %d gaps, complete: %v", n, len(got.Gaps), got.Complete)
	}
	for _, gap := range got.Gaps {
		if gap.Reason != "too-large" {
			t.Errorf("%+v", gap)
		}
	}
}

// TestScreenedOfOneLayer: the same for executables that no name selects.
func TestScreenedOfOneLayer(t *testing.T) {
	var stored bytes.Buffer
	archive := tar.NewWriter(&stored)
	header := make([]byte, 64)
	copy(header, "\x7fELF")
	header[16] = 2 // an executable
	for i := range 10 {
		_ = archive.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Mode: 0o755, Size: int64(len(header)), Typeflag: tar.TypeReg})
		_, _ = archive.Write(header)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	blob := blobOf(t, stored.Bytes())
	blob.AllBinaries = true
	got, err := newReader(manyCalls(1000), layers.Limits{ResultBytes: 1 << 20}).Read(t.Context(), layers.Image{Blobs: []layers.Blob{blob}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Binaries); n == 0 || n == 10 || len(got.Gaps) != 1 || got.Gaps[0].Reason != "too-large" || got.Complete {
		t.Errorf("%d binaries, gaps %+v, complete: %v", n, got.Gaps, got.Complete)
	}
}

// TestLongSearchPath: a PATH is not multiplied with the words of the command.
func TestLongSearchPath(t *testing.T) {
	long := "/" + strings.Repeat("a", 100_000)
	config := &layers.Config{Path: long + ":/bin", WorkingDir: long, Command: []string{"start", "./start"}}
	image := layers.Image{Config: config, Blobs: []layers.Blob{blobOf(t, packed(t, tar.Header{Name: "bin/start", Typeflag: tar.TypeReg}))}}
	reader := newReader(legacyHAProxy(), layers.Limits{})
	image.Summarize = func(ctx context.Context, b layers.Blob, before *layers.Summary, wanted map[string]bool) (*layers.Summary, error) {
		for name := range wanted {
			if len(name) > imagefs.DefaultNameBytes {
				t.Errorf("a path of %d bytes", len(name))
			}
		}
		return reader.Summarize(ctx, b, before, wanted)
	}
	if _, err := reader.Read(t.Context(), image); err != nil {
		t.Error(err)
	}
}
