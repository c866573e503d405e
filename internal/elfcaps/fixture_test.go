package elfcaps

import (
	"bytes"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/report"
)

func capset(t testing.TB, data []byte) report.Capset {
	t.Helper()
	f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f.Capset()
}

// TestFixtures judges each fixture; its name ends in the wanted ABI and the
// flags that it was built with.
func TestFixtures(t *testing.T) {
	for name, data := range elftest.Fixtures(t) {
		t.Run(name, func(t *testing.T) {
			parts := strings.Split(name, "_")
			want := report.ABI(parts[len(parts)-2])
			got := capset(t, data)
			if got.ABI != want || got.Basis != report.BasisCode {
				t.Errorf("judged %s (%s), want %s: %q %+v", got.ABI, got.Basis, want, got.Reason, got.Calls)
			}
			if want == report.ABINone && len(got.Calls) > 0 {
				t.Errorf("has calls: %+v", got.Calls)
			}
			if want == report.ABIUnknown && (got.Reason == "" || !strings.Contains(got.Reason, "0x")) {
				t.Errorf("unknown without an address and a reason: %q", got.Reason)
			}
		})
	}
}

// TestNoSections judges the fixtures again as if their section headers had been
// stripped.
func TestNoSections(t *testing.T) {
	for name, data := range elftest.Fixtures(t) {
		t.Run(name, func(t *testing.T) {
			parts := strings.Split(name, "_")
			want := report.ABI(parts[len(parts)-2])
			cut := bytes.Clone(data)
			clear(cut[40:48]) // e_shoff
			clear(cut[58:64]) // e_shentsize, e_shnum, e_shstrndx
			if got := capset(t, cut); got.ABI != want {
				t.Errorf("judged %s, want %s: %q %+v", got.ABI, want, got.Reason, got.Calls)
			}
		})
	}
}

// TestOverwrittenVersion changes the constant in the code: the verdict must
// follow it.
func TestOverwrittenVersion(t *testing.T) {
	data := bytes.Clone(elftest.Fixtures(t)["amd64_heap_v1_O2"])
	old, changed := []byte{0x30, 0x03, 0x98, 0x19}, []byte{0x22, 0x05, 0x08, 0x20}
	if bytes.Count(data, old) != 1 {
		t.Fatalf("the fixture holds the version %d times", bytes.Count(data, old))
	}
	if got := capset(t, bytes.Replace(data, old, changed, 1)); got.ABI != report.ABIV3 {
		t.Errorf("judged %s, want v3", got.ABI)
	}
}

// inlineAMD64 is a function that passes v1 to the kernel itself, and its caller:
//
//	sub $16, %rsp; movq $0x19980330, (%rsp); mov %rsp, %rdi; xor %esi, %esi
//	lea 8(%rsp), %rsi; mov $125, %eax; syscall; add $16, %rsp; ret
func inlineAMD64() []byte {
	return []byte{
		0x48, 0x83, 0xec, 0x10, 0x48, 0xc7, 0x04, 0x24, 0x30, 0x03, 0x98, 0x19, 0x48, 0x89, 0xe7,
		0x48, 0x8d, 0x74, 0x24, 0x08, 0xb8, 0x7d, 0, 0, 0, 0x0f, 0x05, 0x48, 0x83, 0xc4, 0x10, 0xc3,
		0xe8, 0xdb, 0xff, 0xff, 0xff, 0xc3,
	}
}

// inlineARM64 is the same function on arm64:
//
//	mov w1, #0x330; movk w1, #0x1998, lsl #16; stp x1, xzr, [sp, #-16]!
//	mov x0, sp; mov x1, sp; mov x8, #90; svc #0; ret
func inlineARM64() []byte {
	return elftest.Words(0x52806601, 0x72a33301, 0xa9bf7fe1, 0x910003e0, 0x910003e1, 0xd2800b48, 0xd4000001, 0xd65f03c0)
}
