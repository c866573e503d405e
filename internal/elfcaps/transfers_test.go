package elfcaps

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestTransfers: the list of calls and jumps answers as another pass over the
// code does.
func TestTransfers(t *testing.T) {
	for name, data := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			m := machineFor(f.c.machine)
			first := newQuery(DefaultSites)
			first.first, first.list = true, newTransfers(f.code)
			f.scan(m, first, f.code)
			if first.list.count == 0 {
				t.Fatal("no calls or jumps")
			}
			ask := newQuery(DefaultSites)
			for _, e := range first.list.blocks[0] {
				if e.target&1 == 1 {
					ask.want(first.list.base + uint64(e.target>>1))
				}
			}
			ask.fragments = f.code[:1]
			ask.points = []uint64{f.code[0].start + 16, f.code[len(f.code)-1].end}
			want, got := f.scan(m, ask, f.code), first.list.replay(ask)
			f.finish(m, ask, &got)
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
