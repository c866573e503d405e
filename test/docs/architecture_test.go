package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestArchitectureNamesEveryPackage: docs/architecture.md has a row for each
// package below internal and cmd.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	root := filepath.Join("..", "..")
	page := read(t, root, "docs", "architecture.md")
	for _, parent := range []string{"internal", "cmd"} {
		folders, err := os.ReadDir(filepath.Join(root, parent))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range folders {
			if row := "\n| `" + parent + "/" + folder.Name() + "` | "; folder.IsDir() && !strings.Contains(page, row) {
				t.Errorf("no row for %s/%s", parent, folder.Name())
			}
		}
	}
}
