package layers_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

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

func TestAttack(t *testing.T) {
	image, size := linkImage(t, 100, 60)
	reader := &layers.Reader{Inspector: legacyHAProxy(), Limits: layers.Limits{}.WithDefaults(), FileBudget: unbounded{}, WindowBudget: unbounded{}}
	r, err := reader.Read(t.Context(), image)
	t.Log(size, r, err)
}
