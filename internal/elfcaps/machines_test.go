package elfcaps

import (
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/elftest"
	"github.com/capvet/capvet/internal/isa"
)

// TestEveryMachineHasFixtures: each case of the fixtures that is built for one machine with
// -O2 is built for all.
func TestEveryMachineHasFixtures(t *testing.T) {
	fixtures := elftest.Fixtures(t)
	cases := map[string]bool{}
	for name := range fixtures {
		if _, rest, _ := strings.Cut(name, "_"); strings.HasSuffix(rest, "_O2") {
			cases[rest] = true
		}
	}
	for _, m := range isa.Machines() {
		for c := range cases {
			if _, ok := fixtures[m.Name+"_"+c]; !ok {
				t.Errorf("testdata/bin has no %s_%s: extend testdata/build.sh", m.Name, c)
			}
		}
	}
	if len(cases) < 20 {
		t.Errorf("only %d cases", len(cases))
	}
}
