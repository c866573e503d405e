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
