package elfcaps

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/elftest"
)

// TestTransfers: the list of calls and jumps answers as another pass over the
// code does.
func TestTransfers(t *testing.T) {
	for name, data := range elftest.Fixtures(t) {
		t.Run(name, func(t *testing.T) {
			f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			p := newProgram(f.File, DefaultSites)
			first := p.newQuery()
			first.first, first.list = true, newTransfers(f.Code)
			p.scan(first, f.Code)
			if first.list.count == 0 {
				t.Fatal("no calls or jumps")
			}
			ask := p.newQuery()
			for _, e := range first.list.blocks[0] {
				if e.target&1 == 1 {
					ask.want(first.list.base + uint64(e.target>>1))
				}
			}
			ask.fragments = f.Code[:1]
			ask.points = []uint64{f.Code[0].Start + 16, f.Code[len(f.Code)-1].End}
			want, got := p.scan(ask, f.Code), first.list.replay(ask)
			p.finish(ask, &got)
			byPlace := func(a, b hit) int { return cmp.Or(cmp.Compare(a.pc, b.pc), cmp.Compare(a.target, b.target)) }
			for _, hits := range [][]hit{want.calls, got.calls, want.jumps, got.jumps} {
				slices.SortFunc(hits, byPlace)
			}
			if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(findings{}, hit{})); diff != "" {
				t.Errorf("the list answers otherwise (-pass +list):\n%s", diff)
			}
		})
	}
}
