package wording_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/wording"
)

// TestGrowth: the words for a decision cost no more with twice as many findings about twice as
// long names, apart from a pass over the findings. Counted in bytes allocated.
func TestGrowth(t *testing.T) {
	measure := func(n int) uint64 {
		var findings []policy.Finding
		name := strings.Repeat("é", n)
		for i := range n {
			findings = append(findings, policy.Finding{
				Action: policy.ActionWarn, Policy: fmt.Sprint("p", i), Rule: policy.RuleUnknown,
				Image:  policy.Image{Containers: []string{"c"}, Reference: name, Architecture: "arm64"},
				Binary: &report.Binary{Path: name, Capset: report.Capset{ABI: report.ABIUnknown, Reason: name}}, Advice: []string{name},
			})
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		denial, warnings := wording.Denial(findings), wording.Warnings("Pod", "the list", findings)
		runtime.ReadMemStats(&after)
		if got := utf8.RuneCountInString(denial); got != wording.MaxDenial || len(warnings) == 0 {
			t.Errorf("a denial of %d runes, %d warnings", got, len(warnings))
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	const n = 1 << 12
	if before, after := measure(n), measure(2*n); after > 3*before {
		t.Errorf("%d bytes for %d findings, %d for %d", before, n, after, 2*n)
	}
}

// TestBroken: a namespace's many broken policies get few warnings.
func TestBroken(t *testing.T) {
	var warnings []string
	for i := range 10_000 {
		warnings = append(warnings, fmt.Sprint("CapsetPolicy/a/", i, " is not applied"))
	}
	got := wording.Broken(warnings)
	if len(got) != 5 || got[4] != "and 9996 more policies are broken" {
		t.Errorf("%q", got)
	}
	if got := wording.Broken(warnings[:1]); len(got) != 1 || got[0] != warnings[0] {
		t.Errorf("%q", got)
	}
}
