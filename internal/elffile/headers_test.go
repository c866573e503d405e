package elffile

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/report"
)

// TestOpenRefuses opens inconsistent files.
func TestOpenRefuses(t *testing.T) {
	good := elftest.Executable(elf.EM_X86_64, []byte{0xc3})
	set := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	other := func(at int, b byte) []byte { // of a machine whose kernel reads the class and the byte order
		out := elftest.Executable(elf.EM_RISCV, []byte{0xc3})
		out[at] = b
		return out
	}
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":                    {nil, ErrNotELF},
		"script":                   {bytes.Repeat([]byte("#!/bin/sh\n"), 20), ErrNotELF},
		"class":                    {other(4, 9), ErrMalformed},
		"byte order":               {other(5, 9), ErrMalformed},
		"object file":              {set(16, 1), ErrNotExecutable},
		"core":                     {set(16, 4), ErrNotExecutable},
		"program headers far away": {set(32, huge...), ErrMalformed},
		"program header size":      {set(54, 1), ErrMalformed},
		"too many program headers": {set(56, 0xff, 0xff), ErrTooLarge},
		"no program headers":       {set(56, 0, 0), ErrMalformed},
		"segment past the end":     {set(64+32, huge...), ErrMalformed},
		"segment of huge offset":   {set(64+8, huge...), ErrMalformed},
		"memory wraps around":      {set(64+16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ErrMalformed},
		"cut short":                {good[:len(good)-1], ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := openAny(bytes.NewReader(c.data), int64(len(c.data)))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestSparse(t *testing.T) {
	if _, err := openAny(elftest.Sparse{Head: elftest.Executable(elf.EM_X86_64, nil)}, 1<<40); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a terabyte: %v", err)
	}
}

// failing is a reader that always fails.
type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestReadError(t *testing.T) {
	if _, err := openAny(failing{io.ErrClosedPipe}, 1<<10); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestFacts(t *testing.T) {
	all := elftest.Fixtures(t)
	for name, want := range map[string]Facts{
		"amd64_heap_v1_O2": {
			Machine: "amd64", Libc: report.LibcGlibc, Linkage: report.LinkageDynamic, PIE: true, Stripped: true,
			Interpreter: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6"},
		},
		"arm64_heap_v1_O2": {
			Machine: "arm64", Libc: report.LibcGlibc, Linkage: report.LinkageDynamic, PIE: true, Stripped: true,
			Interpreter: "/lib/ld-linux-aarch64.so.1", Needed: []string{"libc.so.6"},
		},
		// Too small to contain musl's texts.
		"amd64_static_none_musl": {Machine: "amd64", Libc: report.LibcUnknown, Linkage: report.LinkageStatic, Stripped: true},
	} {
		f, err := openAny(bytes.NewReader(all[name]), int64(len(all[name])))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, f.Facts()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// openAny opens a file without GOT.Imports.
func openAny(r io.ReaderAt, size int64) (*File, error) {
	return Open(r, size, Limits{}, func(string) bool { return false })
}
