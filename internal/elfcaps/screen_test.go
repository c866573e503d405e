package elfcaps

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	for name, data := range fixtures(t) {
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

// TestKernelEntries: whatever follows and wherever it stands.
func TestKernelEntries(t *testing.T) {
	for _, tt := range []struct {
		name  string
		entry func([]byte) bool
		code  []byte
		want  bool
	}{
		{"svc #0", entryARM64, []byte{0x01, 0x00, 0x00, 0xd4}, true},
		{"svc #0xffff", entryARM64, []byte{0, 0, 0xe1, 0xff, 0x1f, 0xd4}, true},
		{"behind another d4", entryARM64, []byte{0xd4, 0xd4, 0, 0xd4, 0x01, 0x00, 0x00, 0xd4}, true},
		{"hvc", entryARM64, []byte{0x02, 0x00, 0x00, 0xd4}, false},
		{"brk", entryARM64, []byte{0x01, 0x00, 0x20, 0xd4}, false},
		{"too short", entryARM64, []byte{0, 0, 0xd4}, false},
		{"syscall", entryAMD64, []byte{0x90, 0x0f, 0x05}, true},
		{"ud2", entryAMD64, []byte{0x0f, 0x0b, 0x05}, false},
	} {
		if got := tt.entry(tt.code); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

// BenchmarkMayCall measures the screening beside the judging of one file.
func BenchmarkMayCall(b *testing.B) {
	name := os.Getenv("CAPVET_BENCH_FILE")
	data := fixtures(b)["arm64_two_levels_v1_O2"]
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
