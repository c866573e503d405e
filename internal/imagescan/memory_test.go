package imagescan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/capvet/capvet/internal/report"
)

// folder is a registry of the files of a folder, without a server: neither is part
// of the measured memory.
type folder string

func (f folder) add(b *testing.B, content []byte) v1.Descriptor {
	b.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err == nil {
		err = os.WriteFile(filepath.Join(string(f), digest.String()), content, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	return v1.Descriptor{MediaType: types.OCILayer, Digest: digest, Size: size}
}

func (f folder) RoundTrip(r *http.Request) (*http.Response, error) {
	response := &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Body: http.NoBody,
		Header: http.Header{"Content-Type": {string(types.OCIManifestSchema1)}}}
	if strings.HasSuffix(r.URL.Path, "/v2/") {
		return response, nil
	}
	content, err := os.Open(filepath.Join(string(f), path.Base(r.URL.Path)))
	if err != nil {
		return nil, err
	}
	info, err := content.Stat()
	if err != nil {
		return nil, err
	}
	response.Body, response.ContentLength = content, info.Size()
	return response, nil
}

// resident returns the memory that Go's runtime holds, in bytes.
func resident() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// hashFile reads a file as an analysis does, and keeps none of it.
func hashFile(r io.ReaderAt, size int64, _ string) (report.Binary, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, io.NewSectionReader(r, 0, size))
	return report.Binary{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}, err
}

// BenchmarkManyScans measures the resident memory of 100 cold scans at once, each
// of an image with an executable of 4 MiB.
func BenchmarkManyScans(b *testing.B) {
	const images = 100
	content := make([]byte, 4<<20)
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	registry := folder(b.TempDir())
	config := registry.add(b, []byte(`{"architecture":"arm64","os":"linux","config":{}}`))
	base := registry.add(b, gzipped(archive("usr/share/base", string(content)+string(content))))
	for i := range images {
		own := registry.add(b, gzipped(archive("usr/sbin/haproxy", string(content)+fmt.Sprint(i))))
		manifest := registry.add(b, fmt.Appendf(nil,
			`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[`+
				`{"mediaType":%q,"digest":%q,"size":%d},{"mediaType":%q,"digest":%q,"size":%d}]}`, types.OCIManifestSchema1, types.OCIConfigJSON,
			config.Digest, config.Size, types.OCILayer, base.Digest, base.Size, types.OCILayer, own.Digest, own.Size))
		if err := os.Link(filepath.Join(string(registry), manifest.Digest.String()), filepath.Join(string(registry), fmt.Sprint(i))); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		scanner := newScanner(b, nil, nil, func(o *setup) {
			o.client.Transport = registry
			o.Inspector.Analyze = hashFile
		})
		debug.FreeOSMemory()
		before, peak := resident(), int64(0)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					peak = max(peak, resident())
				}
			}
		}()
		var group sync.WaitGroup
		for i := range images {
			group.Go(func() {
				r, err := scanner.Scan(b.Context(), Request{Reference: fmt.Sprintf("registry.test/haproxy:%d", i), Platform: "linux/arm64"})
				if err != nil || len(r.Binaries) != 1 {
					b.Errorf("%v, %v", r, err)
				}
			})
		}
		group.Wait()
		close(stop)
		<-stopped
		b.ReportMetric(float64(peak-before)/(1<<20), "MiB-resident")
	}
}
