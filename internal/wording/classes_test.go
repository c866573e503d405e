package wording

import (
	"testing"

	"github.com/capvet/capvet/internal/report"
)

// TestEveryClassHasWords: each class of error has words of its own.
func TestEveryClassHasWords(t *testing.T) {
	seen := map[string]report.FailureClass{}
	for _, class := range append(report.FailureClasses(), report.FailureInternal) {
		text := failureText(class)
		if other, known := seen[text]; known || text == string(class) || len(text) < 10 {
			t.Errorf("%s has the words %q, as %q has", class, text, other)
		}
		seen[text] = class
	}
}
