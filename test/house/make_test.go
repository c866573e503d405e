package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// helpWidth is the columns that a line of make help may take.
const helpWidth = 100

// TestMakeHelp: make help lists each documented target and each category of the Makefile, in lines that fit a terminal.
func TestMakeHelp(t *testing.T) {
	help := exec.CommandContext(t.Context(), "make", "--no-print-directory", "help")
	help.Dir = root
	// Under make, the flags and the level of the outer make would change the output.
	help.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "MAKE") })
	output, err := help.CombinedOutput()
	if err != nil {
		t.Fatalf("make help: %v\n%s", err, output)
	}
	for line := range strings.Lines(string(output)) {
		if width := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > helpWidth {
			t.Errorf("make help prints a line of %d columns: shorten the target's text after ## to at most %d columns\n%s", width, helpWidth, line)
		}
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`(?m)^([a-z-]+):.*## `).FindAllSubmatch(makefile, -1)
	for _, target := range targets {
		if !regexp.MustCompile(`(?m)^\s+` + string(target[1]) + `\s`).Match(output) {
			t.Errorf("make help does not list %s: mend the help target", target[1])
		}
	}
	categories := regexp.MustCompile(`(?m)^##@ (\w+)`).FindAllSubmatch(makefile, -1)
	for _, category := range categories {
		if !regexp.MustCompile(`(?m)^` + string(category[1]) + `\b`).Match(output) {
			t.Errorf("make help does not print the category %s: mend the help target", category[1])
		}
	}
	if len(targets) < 10 || len(categories) < 3 {
		t.Errorf("the Makefile has %d documented targets and %d categories: it was not read", len(targets), len(categories))
	}
}
