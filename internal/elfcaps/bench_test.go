package elfcaps

import (
	"bytes"
	"os"
	"testing"

	"github.com/capvet/capvet/internal/elftest"
)

// BenchmarkCapset measures opening a file and judging its calls, on a fixture
// and on the file that CAPVET_BENCH_FILE names.
func BenchmarkCapset(b *testing.B) {
	for _, name := range []string{"arm64_two_levels_v1_O2", "amd64_two_levels_v1_O2"} {
		data := elftest.Fixtures(b)[name]
		b.Run(name, func(b *testing.B) { benchmark(b, data) })
	}
	if name := os.Getenv("CAPVET_BENCH_FILE"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("file", func(b *testing.B) { benchmark(b, data) })
	}
}

func benchmark(b *testing.B, data []byte) {
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
