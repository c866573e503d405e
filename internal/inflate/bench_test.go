package inflate

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"testing"

	kgzip "github.com/klauspost/compress/gzip"
)

// BenchmarkInflate decompresses the test's own executable, and compares with the
// libraries.
func BenchmarkInflate(b *testing.B) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		b.Fatal(err)
	}
	packed := pack(b, gzip.DefaultCompression, content)
	for _, with := range []struct {
		name string
		open func(io.Reader) (io.Reader, error)
	}{
		{"inflate", func(r io.Reader) (io.Reader, error) { return NewReader(r), nil }},
		{"compress", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		{"klauspost", func(r io.Reader) (io.Reader, error) { return kgzip.NewReader(r) }},
	} {
		b.Run(with.name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			chunk := make([]byte, 128<<10)
			for b.Loop() {
				r, err := with.open(bytes.NewReader(packed))
				if err != nil {
					b.Fatal(err)
				}
				// Without WriterTo and ReaderFrom, all decoders are read in chunks.
				if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, chunk); err != nil || n != int64(len(content)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
