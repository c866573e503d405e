package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBounded: what a report has no room for is left out, the worst is kept, and
// gaps count the rest.
func TestBounded(t *testing.T) {
	r := New()
	long := strings.Repeat("é", MaxPathBytes)
	for i := range MaxBinaries + 10 {
		b := Binary{Path: fmt.Sprintf("/%04d", i), Capset: Capset{ABI: ABIV3, Reason: long, Calls: []Call{}}}
		for range 5 {
			b.Capset.Calls = append(b.Capset.Calls, Call{ABI: ABIV3, Function: long})
		}
		if i >= MaxBinaries {
			b.Capset.ABI, b.Capset.Calls[4].ABI = ABIV1, ABIV1
		}
		b.Product, b.Trigger = &Product{Version: long}, &Trigger{Why: long}
		for range MaxLibraries + 1 {
			b.Capset.Libraries = append(b.Capset.Libraries, Library{Name: long, Path: long})
		}
		r.Binaries = append(r.Binaries, b)
	}
	for i := range 2 * MaxGaps {
		r.Gaps = append(r.Gaps, Gap{Where: fmt.Sprint(i), Detail: long, Other: i < MaxGaps})
	}
	before := r.Binaries[0].Capset.Calls[0].Function
	got := Bounded(r)
	if r.Binaries[0].Capset.Calls[0].Function != before || len(r.Gaps[0].Detail) != len(long) {
		t.Error("the original changed")
	}
	if got.Complete || len(got.Binaries) != MaxBinaries || len(got.Gaps) > MaxGaps {
		t.Errorf("complete %v, %d binaries, %d gaps", got.Complete, len(got.Binaries), len(got.Gaps))
	}
	calls, legacy := 0, 0
	for _, b := range got.Binaries {
		calls += len(b.Capset.Calls)
		if want := 5; len(b.Capset.Calls) < want && b.Capset.CallsTotal != want {
			t.Errorf("%s: %d calls of %d", b.Path, len(b.Capset.Calls), b.Capset.CallsTotal)
		}
		for _, c := range b.Capset.Calls {
			if c.ABI == ABIV1 {
				legacy++
			}
			if len(c.Function) > MaxTextBytes {
				t.Fatalf("a function of %d bytes", len(c.Function))
			}
		}
	}
	if calls != MaxCalls || legacy != 10 {
		t.Errorf("%d calls, %d of them legacy", calls, legacy)
	}
	if last := got.Binaries[MaxBinaries-1]; last.Path != fmt.Sprintf("/%04d", MaxBinaries+9) || got.Binaries[0].Path != "/0000" {
		t.Errorf("from %s to %s", got.Binaries[0].Path, last.Path)
	}
	if got.Gaps[0].Where != fmt.Sprint(MaxGaps) {
		t.Errorf("the first gap is %s", got.Gaps[0].Where)
	}
	var said []string
	for _, g := range got.Gaps {
		if g.Where == "report" && g.Reason == GapTooLarge {
			said = append(said, g.Detail)
		}
	}
	want := []string{
		"10 more executables are left out",
		fmt.Sprintf("%d more calls are left out", 5*MaxBinaries-MaxCalls),
		fmt.Sprintf("%d more libraries are left out", MaxBinaries),
		fmt.Sprintf("%d more gaps are left out", MaxGaps+4),
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if size, limit := got.Bytes(), int64(32<<20); size > limit {
		t.Errorf("%d bytes, and a cache has %d", size, limit)
	}
}

// TestBoundedChangesNothing: a usual report stays as it is.
func TestBoundedChangesNothing(t *testing.T) {
	r := New()
	r.Binaries = append(r.Binaries, Binary{Path: "/haproxy", Product: &Product{Name: "haproxy"}, Trigger: &Trigger{Why: "start"},
		Capset: Capset{ABI: ABIV1, Calls: []Call{{ABI: ABIV1, Function: "f"}, {ABI: ABIV3}}, Libraries: []Library{{Name: "libcap.so.2"}}}})
	r.Gaps = append(r.Gaps, Gap{Where: "/a", Reason: "malformed"})
	if diff := cmp.Diff(r, Bounded(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if empty := New(); cmp.Diff(empty, Bounded(empty)) != "" {
		t.Error("an empty report changed")
	}
}

// TestBytesCountEverything: each text and element adds to the size.
func TestBytesCountEverything(t *testing.T) {
	x := strings.Repeat("x", 1000)
	for name, change := range map[string]func(r *Report){
		"function":      func(r *Report) { r.Binaries = []Binary{{Capset: Capset{Calls: []Call{{Function: x}}}}} },
		"library":       func(r *Report) { r.Binaries = []Binary{{Capset: Capset{Libraries: []Library{{Path: x}}}}} },
		"version":       func(r *Report) { r.Binaries = []Binary{{Product: &Product{Version: x}}} },
		"why":           func(r *Report) { r.Binaries = []Binary{{Trigger: &Trigger{Why: x}}} },
		"gap":           func(r *Report) { r.Gaps = []Gap{{Detail: x}} },
		"configuration": func(r *Report) { r.Configuration = &Configuration{Command: []string{x}} },
		"settings":      func(r *Report) { r.Settings = []Settings{{Path: x}} },
		"table":         func(r *Report) { r.ThroughTable = []string{x} },
	} {
		r := New()
		before := r.Bytes()
		if change(&r); r.Bytes() < before+1000 {
			t.Errorf("%s: %d bytes, then %d", name, before, r.Bytes())
		}
	}
}
