package layers

import (
	"testing"

	"github.com/capvet/capvet/internal/isa"
)

// TestEveryMachineHasLibraryDirectories: Debian's directory of each machine is known.
func TestEveryMachineHasLibraryDirectories(t *testing.T) {
	for _, m := range isa.Machines() {
		if multiarchTriplets[m.Name] == "" {
			t.Errorf("%s has no triplet in multiarchTriplets", m.Name)
		}
	}
}
