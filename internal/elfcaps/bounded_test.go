package elfcaps

import (
	"bytes"
	"testing"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/elftest"
)

// TestExhausted: once a limit is met no further function is looked at, and the
// verdict says so.
func TestExhausted(t *testing.T) {
	data := elftest.Fixtures(t)["amd64_static_none_O2"]
	f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{Limits: elffile.Limits{Work: 1}})
	if err != nil {
		t.Fatal(err)
	}
	f.Spend(1 << 40)
	a := newAnalysis(f)
	a.enter(f.Code[0], f.Code[0].Start, []uint64{f.Code[0].Start})
	if len(a.entered) != 0 || len(a.unresolved) != 0 {
		t.Errorf("went on with %d functions", len(a.entered))
	}
}
