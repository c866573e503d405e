package elfcaps

import (
	"bytes"
	"os"
	"testing"
)

// BenchmarkCapset measures opening a file and judging its calls, on a fixture
// and on the file that CAPVET_BENCH_FILE names.
func BenchmarkCapset(b *testing.B) {
	name := os.Getenv("CAPVET_BENCH_FILE")
	if name == "" {
		b.Skip("CAPVET_BENCH_FILE names no file")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
		if err != nil {
			b.Fatal(err)
		}
		f.Capset()
	}
}
