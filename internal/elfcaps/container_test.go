package elfcaps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/report"
)

// TestOpenRefuses gives files that lie about themselves.
func TestOpenRefuses(t *testing.T) {
	good := wrapped(machineAMD64, codeInlineAMD64)
	set := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":                    {nil, ErrNotELF},
		"script":                   {bytes.Repeat([]byte("#!/bin/sh\n"), 20), ErrNotELF},
		"class":                    {set(4, 9), ErrMalformed},
		"byte order":               {set(5, 9), ErrMalformed},
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
			_, err := Open(bytes.NewReader(c.data), int64(len(c.data)), Limits{})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// sparse is a file of zeros after a head.
type sparse struct{ head []byte }

func (s sparse) ReadAt(b []byte, off int64) (int, error) {
	clear(b)
	if off < int64(len(s.head)) {
		copy(b, s.head[off:])
	}
	return len(b), nil
}

func TestSparse(t *testing.T) {
	if _, err := Open(sparse{wrapped(machineAMD64, nil)}, 1<<40, Limits{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a terabyte: %v", err)
	}
	// A segment of a gigabyte holds more code than the limit: never none.
	head := wrapped(machineAMD64, nil)
	binary.LittleEndian.PutUint64(head[64+32:], 1<<30)
	binary.LittleEndian.PutUint64(head[64+40:], 1<<30)
	f, err := Open(sparse{head}, 1<<30, Limits{CodeBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Capset(); got.ABI != report.ABIUnknown || got.Reason == "" {
		t.Errorf("judged %+v", got)
	}
}

// failing returns an error of its own.
type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestReadError(t *testing.T) {
	if _, err := Open(failing{io.ErrClosedPipe}, 1<<10, Limits{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

func TestFacts(t *testing.T) {
	all := fixtures(t)
	for name, want := range map[string]Facts{
		"amd64_heap_v1_O2": {
			Machine: "amd64", Libc: report.LibcGlibc, Linkage: report.LinkageDynamic, PIE: true, Stripped: true,
			Interpreter: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6"},
		},
		"arm64_heap_v1_O2": {
			Machine: "arm64", Libc: report.LibcGlibc, Linkage: report.LinkageDynamic, PIE: true, Stripped: true,
			Interpreter: "/lib/ld-linux-aarch64.so.1", Needed: []string{"libc.so.6"},
		},
		// So small that it holds none of musl's texts.
		"amd64_static_none_musl": {Machine: "amd64", Libc: report.LibcUnknown, Linkage: report.LinkageStatic, Stripped: true},
	} {
		f, err := Open(bytes.NewReader(all[name]), int64(len(all[name])), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, f.Facts()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestOtherMachine: identity, and unknown with the reason.
func TestOtherMachine(t *testing.T) {
	f, err := Open(bytes.NewReader(wrapped(243, nil)), int64(len(wrapped(243, nil))), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got := f.Capset()
	if f.Facts().Machine != "riscv64" || got.ABI != report.ABIUnknown || got.Basis != report.BasisNone || got.Reason == "" {
		t.Errorf("%s: %+v", f.Facts().Machine, got)
	}
}

// TestDataIsNotCode: bytes that would be a call stand in data and are not one.
func TestDataIsNotCode(t *testing.T) {
	data := wrapped(machineAMD64, []byte{0xc3})
	binary.LittleEndian.PutUint32(data[64+4:], 4) // readable only
	data = append(data, codeInlineAMD64...)
	binary.LittleEndian.PutUint64(data[64+32:], uint64(len(data)))
	binary.LittleEndian.PutUint64(data[64+40:], uint64(len(data)))
	if got := capset(t, data); got.ABI != report.ABINone || len(got.Calls) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestPacked: what UPX packed is not judged by the code that unpacks it.
func TestPacked(t *testing.T) {
	data := wrapped(machineARM64, append([]byte("sum!UPX!"), codeInlineARM64...))
	if got := capset(t, data); got.ABI != report.ABIUnknown || got.Basis != report.BasisNone || !strings.Contains(got.Reason, "upx -d") {
		t.Errorf("%+v", got)
	}
}
