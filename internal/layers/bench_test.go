package layers_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/layers"
	"github.com/capvet/capvet/internal/report"
)

// maxBenchBytes bounds the files of a folder in the layer.
const maxBenchBytes = 256 << 20

// BenchmarkAllBinaries measures the cost of screening every executable of a layer:
// step by step on one core, and by reading the layer for proxies and for all
// binaries, where analyses run concurrently with the decompression. The layer holds
// the programs of the folder CAPVET_BENCH_FOLDER, else of /usr/bin and of Go's tools:
// executables alone are the worst case.
func BenchmarkAllBinaries(b *testing.B) {
	folders := []string{os.Getenv("CAPVET_BENCH_FOLDER")}
	if folders[0] == "" {
		folders = []string{"/usr/bin", filepath.Join(runtime.GOROOT(), "pkg", "tool")} //nolint:staticcheck // it runs where it was built
	}
	for _, folder := range folders {
		packed, unpacked := packFolder(b, folder)
		if unpacked == 0 {
			b.Logf("%s holds nothing", folder)
			continue
		}
		b.Run(filepath.Base(folder)+"/steps", func(b *testing.B) {
			b.SetBytes(unpacked)
			var decompression, screening, analysis time.Duration
			for b.Loop() {
				r, err := imagefs.Unpack(bytes.NewReader(packed), imagefs.Limits{}.WithDefaults(), nil)
				if err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				files := tar.NewReader(r)
				for {
					header, err := files.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					content := make([]byte, header.Size)
					if _, err := io.ReadFull(files, content); err != nil {
						b.Fatal(err)
					}
					decompression += time.Since(start)
					start = time.Now()
					if f, err := elfcaps.Open(bytes.NewReader(content), header.Size, elfcaps.Limits{}); err == nil && !f.Facts().Shared {
						f.MayCall()
					}
					screening += time.Since(start)
					start = time.Now()
					_, _, _ = inspect.Screen(bytes.NewReader(content), header.Size, header.Name)
					analysis += time.Since(start)
					start = time.Now()
				}
			}
			b.ReportMetric(float64(screening)/float64(decompression), "screening/decompression")
			b.ReportMetric(float64(analysis)/float64(decompression), "all/decompression")
		})
		for _, others := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/all=%v", filepath.Base(folder), others), func(b *testing.B) {
				reader := &layers.Reader{Inspector: inspect.Inspector(), Limits: layers.Limits{}.WithDefaults(), FileBudget: unbounded{},
					WindowBudget: unbounded{}}
				layer := blobOf(b, packed)
				layer.AllBinaries = others
				b.SetBytes(unpacked)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := reader.Summarize(b.Context(), layer, nil, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// unbounded is a budget without a bound.
type unbounded struct{}

func (unbounded) Acquire(context.Context, int64) (func(), error) { return func() {}, nil }

func blobOf(b testing.TB, stored []byte) layers.Blob {
	b.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(stored))
	if err != nil {
		b.Fatal(err)
	}
	return layers.Blob{Digest: digest, Size: size, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(stored)), nil
	}}
}

// BenchmarkRead reads an image of one layer.
func BenchmarkRead(b *testing.B) {
	noise := make([]byte, 8<<20)
	_, _ = rand.Read(noise)
	var stored bytes.Buffer
	zip := gzip.NewWriter(&stored)
	archive := tar.NewWriter(zip)
	for _, file := range []struct{ name, content string }{{"usr/share/noise", string(noise)}, {"usr/sbin/haproxy", "a"}} {
		if err := archive.WriteHeader(&tar.Header{Name: file.name, Mode: 0o755, Size: int64(len(file.content)),
			Typeflag: tar.TypeReg}); err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(archive, file.content); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		b.Fatal(err)
	}
	reader := &layers.Reader{
		Inspector: layers.Inspector{
			IsCandidate: func(base string) bool { return base == "haproxy" },
			Analyze:     func(io.ReaderAt, int64, string) (report.Binary, error) { return report.Binary{}, nil },
		},
		Limits: layers.Limits{}.WithDefaults(), FileBudget: unbounded{}, WindowBudget: unbounded{},
	}
	image := layers.Image{Blobs: []layers.Blob{blobOf(b, stored.Bytes())}}
	b.SetBytes(int64(stored.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reader.Read(b.Context(), image); err != nil {
			b.Fatal(err)
		}
	}
}

// packFolder returns a folder's files as a layer, and its uncompressed size.
func packFolder(b *testing.B, folder string) (packed []byte, unpacked int64) {
	b.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || unpacked > maxBenchBytes {
			return nil //nolint:nilerr // what cannot be read is left out
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // likewise
		}
		unpacked += int64(len(content))
		err = archive.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg})
		if err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	if err := errors.Join(err, archive.Close(), zip.Close()); err != nil {
		b.Fatal(err)
	}
	return out.Bytes(), unpacked
}
