package codescan

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/elffile"
	"github.com/capvet/capvet/internal/elftest"
)

// TestBranchIndex requires the same findings from the index as from a second pass.
func TestBranchIndex(t *testing.T) {
	for name, data := range elftest.Fixtures(t) {
		t.Run(name, func(t *testing.T) {
			f, err := elffile.Open(bytes.NewReader(data), int64(len(data)), elffile.Limits{}, func(string) bool { return true })
			if err != nil {
				t.Fatal(err)
			}
			p := NewProgram(f, 1<<13)
			first := p.NewQuery()
			first.Entries, first.Branches = true, NewBranchIndex(f.Code)
			p.Scan(first, f.Code)
			if first.Branches.count == 0 {
				t.Fatal("no calls or jumps")
			}
			q := p.NewQuery()
			for _, e := range first.Branches.blocks[0] {
				if e.target&1 == 1 {
					q.Want(first.Branches.base + uint64(e.target>>1))
				}
			}
			q.Fragments(f.Code[:1:1])
			q.Points = []uint64{f.Code[0].Start + 16, f.Code[len(f.Code)-1].End}
			want, got := p.Scan(q, f.Code), first.Branches.replay(q)
			p.finish(q, &got)
			byAddress := func(a, b Hit) int { return cmp.Or(cmp.Compare(a.PC, b.PC), cmp.Compare(a.Target, b.Target)) }
			for _, hits := range [][]Hit{want.Calls, got.Calls, want.Jumps, got.Jumps} {
				slices.SortFunc(hits, byAddress)
			}
			if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(Findings{}, Hit{})); diff != "" {
				t.Errorf("the index differs (-pass +index):\n%s", diff)
			}
		})
	}
}
