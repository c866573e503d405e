package codescan

import (
	"testing"

	"github.com/capvet/capvet/internal/isa"
)

// TestScannerOfEveryMachine requires a scanner for each machine with a record.
func TestScannerOfEveryMachine(t *testing.T) {
	for _, m := range isa.Machines() {
		if newScanner(&Program{machine: m}, new(Query)) == nil {
			t.Errorf("%s has no scanner", m.Name)
		}
	}
}
