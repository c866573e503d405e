package elfcaps

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// fuzzLimits keep one input short, so that many are tried.
var fuzzLimits = Limits{
	Limits: elffile.Limits{FileSize: 1 << 20, Symbols: 1 << 12, Relocations: 1 << 12},
	Steps:  1 << 16, Sites: 1 << 10,
}

// judge opens and judges data, and checks what holds for any bytes.
func judge(t *testing.T, data []byte) {
	f, err := Open(bytes.NewReader(data), int64(len(data)), fuzzLimits)
	if err != nil {
		classes := []error{elffile.ErrNotELF, elffile.ErrNotExecutable, elffile.ErrMalformed, elffile.ErrTooLarge}
		if !slices.ContainsFunc(classes, func(class error) bool { return errors.Is(err, class) }) {
			t.Errorf("an error of no class: %v", err)
		}
		return
	}
	got := f.Capset()
	worst := report.ABINone
	for _, c := range got.Calls {
		worst = report.WorseABI(worst, c.ABI)
	}
	if worst != got.ABI && got.Reason == "" {
		t.Errorf("judged %s without a reason, though the worst call is %s", got.ABI, worst)
	}
	if got.ABI == report.ABIUnknown && got.Reason == "" {
		t.Error("unknown without a reason")
	}
	if again, err := Open(bytes.NewReader(data), int64(len(data)), fuzzLimits); err != nil {
		t.Errorf("opened once, not twice: %v", err)
	} else if explained, _ := again.Explain(); !cmp.Equal(got, explained) {
		t.Errorf("judged %+v, explained as %+v", got, explained)
	}
	f.Symbols("haproxy_version", "build_features")
	f.PointerAt(binary.LittleEndian.Uint64(data[24:])) // the entry point
}

// FuzzOpen gives the file reader and all that follows arbitrary bytes.
func FuzzOpen(f *testing.F) {
	for _, data := range elftest.Fixtures(f) {
		f.Add(data)
	}
	for _, change := range loaderEdits() {
		e := newEdit(elftest.Fixtures(f)["amd64_heap_v1_O2"])
		change(e)
		f.Add(e.bytes())
	}
	f.Add([]byte("\x7fELF"))
	f.Fuzz(judge)
}

// FuzzCodeAMD64 gives the scanner, the decoder and the interpreter arbitrary
// code.
func FuzzCodeAMD64(f *testing.F) {
	f.Add(inlineAMD64())
	amd64 := isa.For("amd64")
	f.Add([]byte{0xe8, 0xfb, 0xff, 0xff, 0xff, 0xeb, 0xfe, 0xff, 0xe0})
	f.Fuzz(func(t *testing.T, code []byte) {
		for at := 0; at < len(code); at++ {
			var in isa.Insn
			if amd64.Decode(code[at:], 0x400000, &in) && (in.Length < 1 || in.Length > 15 || at+in.Length > len(code)) {
				t.Fatalf("% x decodes to %d bytes of %d", code[at:], in.Length, len(code)-at)
			}
		}
		judge(t, elftest.Executable(elf.EM_X86_64, code))
	})
}

// FuzzCodeARM64 is the same for arm64.
func FuzzCodeARM64(f *testing.F) {
	arm64 := isa.For("arm64")
	f.Add(inlineARM64())
	f.Fuzz(func(t *testing.T, code []byte) {
		for at := 0; at+4 <= len(code); at += 4 {
			var in isa.Insn
			if arm64.Decode(code[at:], 0x400000, &in) && in.Length != 4 {
				t.Fatalf("% x decodes to %d bytes", code[at:at+4], in.Length)
			}
		}
		judge(t, elftest.Executable(elf.EM_AARCH64, code))
	})
}

func TestInline(t *testing.T) {
	for name, data := range map[string][]byte{
		"amd64": elftest.Executable(elf.EM_X86_64, inlineAMD64()), "arm64": elftest.Executable(elf.EM_AARCH64, inlineARM64()),
	} {
		got := capset(t, data)
		if got.ABI != report.ABIV1 || len(got.Calls) != 1 || got.Calls[0].Via != "inline" || got.Calls[0].Header != "stack" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
