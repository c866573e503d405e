package docs

import (
	"path/filepath"
	"testing"
)

// TestRecipesNameTheirTests: the tests that the recipes of CONTRIBUTING.md name exist.
func TestRecipesNameTheirTests(t *testing.T) {
	root := filepath.Join("..", "..")
	tests := named.FindAllStringSubmatch(read(t, root, "CONTRIBUTING.md"), -1)
	for _, test := range tests {
		if !declares(t, filepath.Join(root, test[1]), test[2]) {
			t.Errorf("there is no %s in %s", test[2], test[1])
		}
	}
	if len(tests) < 10 {
		t.Errorf("only %d tests are named", len(tests))
	}
}
