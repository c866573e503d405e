package inspect

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkFile measures the complete analysis of one file, including its digest: a
// fixture, and the file CAPVET_BENCH_FILE.
func BenchmarkFile(b *testing.B) {
	for name, path := range map[string]string{
		"fixture": filepath.Join("..", "elfcaps", "testdata", "bin", "arm64_two_levels_v1_O2"),
		"file":    os.Getenv("CAPVET_BENCH_FILE"),
	} {
		if path == "" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := File(bytes.NewReader(data), int64(len(data)), path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
