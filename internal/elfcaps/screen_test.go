package elfcaps

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/report"
)

// TestMayCall: no file is screened out that Capset has something to say of, and
// some are.
func TestMayCall(t *testing.T) {
	out := 0
	check := func(name string, data []byte) {
		f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
		if err != nil {
			return
		}
		may := f.MayCall()
		if got := f.Capset(); !may && got.ABI != report.ABINone {
			t.Errorf("%s was screened out, and is %s: %s", name, got.ABI, got.Reason)
		}
		if !may {
			out++
		}
	}
	for name, data := range elftest.Fixtures(t) {
		check(name, data)
		bare := bytes.Clone(data)
		clear(bare[40:48]) // e_shoff
		clear(bare[58:64]) // e_shentsize, e_shnum, e_shstrndx
		check(name+" without sections", bare)
		if parts := strings.Split(name, "_"); parts[len(parts)-2] != string(report.ABINone) {
			unlinked := bytes.Clone(data)
			copy(unlinked[18:], []byte{243, 0}) // a machine whose code is not read
			if f, err := Open(bytes.NewReader(unlinked), int64(len(unlinked)), Limits{}); err == nil && !f.MayCall() {
				t.Errorf("%s was screened out though its code cannot be read", name)
			}
		}
	}
	if out == 0 {
		t.Error("none of the fixtures is screened out")
	}
	// Whatever programs this machine has, and those of CAPVET_CORPUS.
	for _, folder := range []string{"/usr/bin", "/usr/sbin", filepath.Join(os.Getenv("CAPVET_CORPUS"), "bin")} {
		files := 0
		_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || files >= maxScreened {
				return nil //nolint:nilerr // what cannot be read is not compared
			}
			if info, err := d.Info(); err != nil || info.Size() > maxScreenedBytes {
				return nil //nolint:nilerr // likewise
			}
			if data, err := os.ReadFile(path); err == nil && bytes.HasPrefix(data, []byte("\x7fELF")) {
				files++
				check(path, data)
			}
			return nil
		})
		t.Logf("%s: %d files", folder, files)
	}
}

// What of a folder is compared.
const (
	maxScreened      = 300
	maxScreenedBytes = 1 << 20
)

// BenchmarkMayCall measures the screening beside the judging of one file.
func BenchmarkMayCall(b *testing.B) {
	name := os.Getenv("CAPVET_BENCH_FILE")
	data := elftest.Fixtures(b)["arm64_two_levels_v1_O2"]
	if name != "" {
		var err error
		if data, err = os.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
		if err != nil {
			b.Fatal(err)
		}
		f.MayCall()
	}
}
