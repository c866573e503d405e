package policyspec

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// matches defines the meaning of a pattern, character by character.
func matches(pattern, name string) bool {
	switch {
	case pattern == "":
		return name == ""
	case strings.HasPrefix(pattern, "**"):
		return matches(pattern[2:], name) || name != "" && matches(pattern, name[1:])
	case pattern[0] == '*':
		return matches(pattern[1:], name) || name != "" && name[0] != '/' && matches(pattern, name[1:])
	}
	return name != "" && pattern[0] == name[0] && matches(pattern[1:], name[1:])
}

// TestGlobMeans: for random patterns and names, of few characters so that they
// often match, and of those that mean something in an expression.
func TestGlobMeans(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	of := func(characters string, n int) string {
		var b strings.Builder
		for range random.IntN(n) {
			b.WriteByte(characters[random.IntN(len(characters))])
		}
		return b.String()
	}
	matched := 0
	const tries = 50_000
	for range tries {
		pattern, name := of("aab/**.:@", 7), of("aab/.:@", 7)
		want := matches(pattern, name)
		if want {
			matched++
		}
		if got := compileGlob(pattern).MatchString(name); got != want {
			t.Fatalf("%q on %q: got %v", pattern, name, got)
		}
	}
	if matched < tries/20 || matched > tries/2 {
		t.Errorf("%d of %d matched: the test says little", matched, tries)
	}
	for pattern := range strings.SplitSeq(`a(b|a[b|a\d|a$|^a|a+|a?|a{2}|(?i)a|.`, "|") {
		if g := compileGlob(pattern); !g.MatchString(pattern) || g.MatchString("ab") || g.MatchString("aa") || g.MatchString("A") {
			t.Errorf("%q does not stand for itself alone", pattern)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.io/x", "a.io/x", true},
		{"a.io/x", "axio/x", false},
		{"a.io/*", "a.io/x:1", true},
		{"a.io/*", "a.io/x/y", false},
		{"a.io/**", "a.io/x/y@sha256:00", true},
		{"**/haproxy:3.0*", "docker.io/library/haproxy:3.0.11", true},
		{"**/haproxy:3.0*", "docker.io/library/haproxy:3.1", false},
		{"***", "a/b", true},
		{"a(b", "a(b", true},
	} {
		if got := compileGlob(tt.pattern).MatchString(tt.name); got != tt.want {
			t.Errorf("%q on %q: got %v", tt.pattern, tt.name, got)
		}
	}
}
