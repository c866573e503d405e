package docs

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeShowsTheWarnings: the README's warnings are those of package wording
// for its Pod.
func TestReadmeShowsTheWarnings(t *testing.T) {
	root := filepath.Join("..", "..")
	golden := read(t, root, "internal", "wording", "testdata", "messages", "trigger-image-user.txt")
	want := warnings(strings.ReplaceAll(golden, "ClusterCapsetPolicy/p", "ClusterCapsetPolicy/baseline"), "warning: ")
	if diff := cmp.Diff(want, warnings(read(t, root, "README.md"), "Warning: ")); diff != "" || len(want) < 4 {
		t.Errorf("the README shows other warnings (+) than capvet (-): %s", diff)
	}
}

// warnings returns the first block of lines with a prefix, without it.
func warnings(text, prefix string) []string {
	var block []string
	for line := range strings.Lines(text) {
		if warning, ok := strings.CutPrefix(line, prefix); ok {
			block = append(block, warning)
		} else if len(block) > 0 {
			break
		}
	}
	return block
}
