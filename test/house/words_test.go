package house

import (
	"regexp"
	"strings"
	"testing"
)

// measure is a limit on vague words in comments, in occurrences per 1,000 comment lines.
type measure struct {
	words   string // a regular expression
	limit   int
	instead string
}

var measures = []measure{
	{`what`, 15, "write the noun of the field"},
	{`says?`, 8, "write returns, reports, means, sets or the like"},
	{`none|nothing|nobody`, 12, "write no X, or the case in which X is absent"},
	{`who|whoever`, 4, "write the noun: the caller, the user, the owner"},
}

// directive is a comment for a tool.
var directive = regexp.MustCompile(`^//(go:|nolint|\s*\+kubebuilder)`)

// commentLines returns each line of a file's comments with its place. Directives are left out.
func commentLines(s source) (lines, places []string) {
	for _, group := range s.file.Comments {
		for _, comment := range group.List {
			if directive.MatchString(comment.Text) {
				continue
			}
			for line := range strings.Lines(comment.Text) {
				lines = append(lines, strings.TrimSpace(line))
				places = append(places, s.line(comment.Pos()))
			}
		}
	}
	return lines, places
}

// TestCommentWords: comments of the shipped code name their subjects instead of paraphrasing them.
func TestCommentWords(t *testing.T) {
	var lines, places []string
	for _, s := range sources(t, "internal", "cmd", "api") {
		if s.isTest() || s.isGenerated() {
			continue
		}
		more, at := commentLines(s)
		lines, places = append(lines, more...), append(places, at...)
	}
	for _, m := range measures {
		word := regexp.MustCompile(`(?i)\b(` + m.words + `)\b`)
		var found []string
		for i, line := range lines {
			for range word.FindAllString(line, -1) {
				found = append(found, places[i]+": "+line)
			}
		}
		if len(found)*1000 <= m.limit*len(lines) {
			continue
		}
		t.Errorf("comments hold %q %d times in %d lines, which is %d per 1,000; at most %d are allowed: %s. Some of them:\n%s",
			m.words, len(found), len(lines), len(found)*1000/len(lines), m.limit, m.instead, strings.Join(found[:min(len(found), 20)], "\n"))
	}
}

// TestCommentLines: code, strings and directives do not count as comments.
func TestCommentLines(t *testing.T) {
	s := parse(t, "x.go", "// Package x: one.\npackage x\n\n//go:generate what\nvar u = \"http://what\" // two\n\n"+
		"// +kubebuilder:object:root=true\nvar _ = u //nolint:x // what\n/* three\nfour */\n")
	lines, places := commentLines(s)
	if got, want := strings.Join(lines, "|"), "// Package x: one.|// two|/* three|four */"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if places[1] != "x.go:5" {
		t.Errorf("the second comment stands at %s", places[1])
	}
}
