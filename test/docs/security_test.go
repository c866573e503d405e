// Package docs checks claims of the documents against the repository.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named is the form in which the pages name a test, with its folder.
var named = regexp.MustCompile("`([a-z0-9/]+): (Test[A-Za-z0-9]+)`")

// TestSecurityNamesItsTests: each line of the threat model, and each way to be admitted
// unjudged, names the tests that enforce it, and they exist.
func TestSecurityNamesItsTests(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range []string{"| asset |", "| way |"} {
		_, table, found := strings.Cut(string(text), head)
		if !found {
			t.Fatalf("the threat model has no table with the head %s", head)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		rows := strings.Split(table, "\n")[2:] // without the heads and the rule
		for _, row := range rows {
			cells := strings.Split(strings.Trim(row, "|"), "|")
			tests := named.FindAllStringSubmatch(cells[len(cells)-1], -1)
			if len(tests) == 0 {
				t.Errorf("no test is named: %s", row)
			}
			for _, test := range tests {
				if !declares(t, filepath.Join(root, test[1]), test[2]) {
					t.Errorf("there is no %s in %s: %s", test[2], test[1], row)
				}
			}
		}
		if len(rows) < 10 {
			t.Errorf("%s %d rows: the table was not read to its end", head, len(rows))
		}
	}
}

// declares reports whether a folder's tests declare one, whatever its build tags.
func declares(t *testing.T, folder, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "func "+test+"(t *testing.T)") {
			return true
		}
	}
	return false
}
