package elfcaps

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/isa"
	"github.com/capvet/capvet/internal/report"
)

// TestExplain: what is explained is the verdict, and each call shows where its
// number, its header and its version were read.
func TestExplain(t *testing.T) {
	for name, data := range elftest.Fixtures(t) {
		t.Run(name, func(t *testing.T) {
			f, err := Open(bytes.NewReader(data), int64(len(data)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got, evidence := f.Explain()
			if diff := cmp.Diff(capset(t, data), got); diff != "" {
				t.Fatalf("the verdict differs when it is explained (-plain +explained):\n%s", diff)
			}
			if len(evidence) < len(got.Calls) {
				t.Fatalf("%d calls, evidence for %d", len(got.Calls), len(evidence))
			}
			for i, c := range got.Calls {
				checkEvidence(t, evidence[i], c, f.Facts().Machine)
			}
		})
	}
}

func checkEvidence(t *testing.T, e Evidence, c report.Call, arch string) {
	t.Helper()
	if diff := cmp.Diff(c, e.Call); diff != "" {
		t.Errorf("evidence of another call (-want +got):\n%s", diff)
	}
	roles := map[Role]string{}
	called := false
	for _, fn := range e.Functions {
		last := uint64(0)
		for _, l := range fn.Lines {
			if l.Address < fn.Start || l.Address >= fn.End || l.Address <= last && last != 0 {
				t.Errorf("line %#x is out of place in %#x to %#x", l.Address, fn.Start, fn.End)
			}
			last = l.Address
			if len(l.Code) == 0 {
				t.Errorf("line %#x has no code", l.Address)
			}
			for _, n := range l.Notes {
				roles[n.Role] += n.Text + "\n"
				called = called || n.Role == RoleCall && fmt.Sprintf("%#x", l.Address) == c.Address
			}
		}
	}
	for _, d := range e.Data {
		for _, n := range d.Notes {
			roles[n.Role] += n.Text + "\n"
		}
	}
	if !called {
		t.Errorf("call at %s: the call is not shown", c.Address)
	}
	m := isa.For(arch)
	number := map[string]uint64{"capget": m.Capget, "capset": m.Capset}[c.Syscall]
	imported := c.Via == "capget" || c.Via == "capset"
	if want := fmt.Sprintf("%d, %s", number, c.Syscall); !imported && !strings.Contains(roles[RoleNumber], want) {
		t.Errorf("%s at %s: no %q among the numbers:\n%s", c.Syscall, c.Address, want, roles[RoleNumber])
	}
	if c.ABI == report.ABIV1 && !strings.Contains(roles[RoleVersion], "0x19980330, v1") {
		t.Errorf("%s at %s: the version is not shown:\n%s", c.Syscall, c.Address, roles[RoleVersion])
	}
	if c.ABI != report.ABIUnknown && roles[RoleHeader] == "" {
		t.Errorf("%s at %s: nothing tells where the header is", c.Syscall, c.Address)
	}
}
