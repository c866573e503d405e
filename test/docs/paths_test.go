package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestPaths: the files and folders of the repository that the pages name exist.
func TestPaths(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile("`((?:api|charts|cmd|config|docs|internal|test|tools)/[A-Za-z0-9_./-]+)`")
	named := 0
	for _, page := range append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		for _, match := range path.FindAllStringSubmatch(read(t, page), -1) {
			named++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(match[1]))); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	if named < 30 {
		t.Errorf("only %d paths were found", named)
	}
}
