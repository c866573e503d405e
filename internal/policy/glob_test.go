package policy

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

func matchGlob(pattern, name string) bool {
	names := newGlobs(name)
	return names.match(pattern)
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
		if got := matchGlob(pattern, name); got != want {
			t.Fatalf("%q on %q: got %v", pattern, name, got)
		}
	}
	// Names across the words of a set, with the same characters before and after.
	for range tries / 10 {
		pattern, name := of("ab/**", 5)+strings.Repeat("a", 60)+of("ab/**", 9), strings.Repeat("a", 58+random.IntN(4))+of("ab/", 9)
		if got, want := matchGlob(pattern, name), matches(pattern, name); got != want {
			t.Fatalf("%q on %q: got %v", pattern, name, got)
		}
	}
	if matched < tries/20 || matched > tries/2 {
		t.Errorf("%d of %d matched: the test says little", matched, tries)
	}
	for pattern := range strings.SplitSeq(`a(b|a[b|a\d|a$|^a|a+|a?|a{2}|(?i)a|.`, "|") {
		if !matchGlob(pattern, pattern) || matchGlob(pattern, "ab") || matchGlob(pattern, "aa") || matchGlob(pattern, "A") {
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
		if got := matchGlob(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%q on %q: got %v", tt.pattern, tt.name, got)
		}
	}
}

// TestGlobSteps: the steps grow with the pattern and with the name, and with their product
// no faster, for patterns made to try every way.
func TestGlobSteps(t *testing.T) {
	steps := func(stars string, pieces, length int) int {
		names := newGlobs(strings.Repeat("a", length))
		if names.match(strings.Repeat(stars+"a", pieces) + "b") {
			t.Fatal("it matches")
		}
		return names.steps
	}
	for _, stars := range []string{"*", "**"} {
		for _, pieces := range []int{16, 32, 64} {
			for _, length := range []int{128, 256, 512} {
				bound := 2*pieces*(length/64+1) + length/64 + 1
				if got := steps(stars, pieces, length); got > bound {
					t.Errorf("%q: %d pieces, %d bytes: %d steps, more than %d", stars, pieces, length, got, bound)
				}
			}
		}
	}
}

// TestLongNames: a name longer than any valid one costs nothing and matches no pattern.
func TestLongNames(t *testing.T) {
	for length, want := range map[int]bool{MaxName: true, MaxName + 1: false, 1 << 20: false} {
		names := newGlobs(strings.Repeat("a", length))
		if got := names.match("**"); got != want || !want && names.steps > 0 {
			t.Errorf("%d bytes: %v after %d steps", length, got, names.steps)
		}
	}
}
