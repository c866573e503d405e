package imagefs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// plenty is a budget that no test uses up.
const plenty = 1 << 40

// taken returns the steps of looking up the names in a stack.
func taken(t *testing.T, stack []*Layer, names []string) int {
	t.Helper()
	steps := NewSteps(plenty)
	tree := NewTree(stack, steps)
	for _, name := range names {
		tree.Lookup(name)
	}
	return plenty - steps.left
}

// linksTo returns a layer of n links to a target, and their names.
func linksTo(t *testing.T, n int, target string) (*Layer, []string) {
	t.Helper()
	var entries []entry
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("/%d/haproxy", i))
		entries = append(entries, symlink(names[i], target))
	}
	l, _ := layer(t, entries...)
	return l, names
}

// TestTargetsAreResolvedOnce: more layers cost more only for what is new on the
// way of each link, not for the long target that the links share.
func TestTargetsAreResolvedOnce(t *testing.T) {
	above, _ := layer(t, file("other", ""))
	cost := func(links, layers int) int {
		l, names := linksTo(t, links, "/"+strings.Repeat("a/", 1000)+"b")
		stack := []*Layer{l}
		for range layers {
			stack = append(stack, above)
		}
		return taken(t, stack, names)
	}
	few, more := cost(100, 50), cost(200, 50)
	if more > 2*few {
		t.Errorf("twice the links take %d steps, the links %d", more, few)
	}
	shallow, deep := cost(200, 50), cost(200, 100)
	if own := 200 * 2 * 2 * 50; deep-shallow > own+2*1001*50 { // each link and its directory, once; the target's directories, once
		t.Errorf("50 more layers take %d more steps", deep-shallow)
	}
}

// TestStepsGrowInProportion: twice the input takes about twice the steps.
func TestStepsGrowInProportion(t *testing.T) {
	repeated := func(n int, one func(i int) entry) []*Layer {
		entries := []entry{file("x", "a")}
		for i := range n {
			entries = append(entries, one(i))
		}
		l, _ := layer(t, entries...)
		return []*Layer{l}
	}
	names := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprintf("/%d", i))
		}
		return all
	}
	for name, cost := range map[string]func(n int) int{
		"symbolic links": func(n int) int {
			return taken(t, repeated(n, func(i int) entry { return symlink(fmt.Sprint(i), "x") }), names(n))
		},
		"hard links": func(n int) int {
			return taken(t, repeated(n, func(i int) entry { return hardlink(fmt.Sprint(i), "x") }), names(n))
		},
		"a chain of symbolic links": func(n int) int {
			return taken(t, repeated(n, func(i int) entry { return symlink(fmt.Sprint(i+1), fmt.Sprint(i)) }), names(n))
		},
		"files": func(n int) int {
			return taken(t, repeated(n, func(i int) entry { return file(fmt.Sprint(i), "") }), names(n))
		},
		"layers": func(n int) int {
			l, _ := layer(t, file("a/b/c", ""))
			stack := []*Layer{l}
			for range n {
				above, _ := layer(t, file("other", ""), whiteoutFile("", "none"))
				stack = append(stack, above)
			}
			return taken(t, stack, []string{"/a/b/c"})
		},
	} {
		few, more := cost(200), cost(400)
		if more > 2*few+few/2 {
			t.Errorf("%s: 400 take %d steps, 200 take %d", name, more, few)
		}
	}
}

func TestStepsHaveAnEnd(t *testing.T) {
	l, names := linksTo(t, 10, "/"+strings.Repeat("a/", 1000)+"b")
	steps := NewSteps(2000)
	tree := NewTree([]*Layer{l}, steps)
	for _, name := range names {
		if f, ok := tree.Lookup(name); ok {
			t.Errorf("%s leads to %+v", name, f)
		}
	}
	if !steps.Exceeded() {
		t.Error("the budget is not exceeded")
	}
}

// TestNoFileWithoutSteps: a look-up that runs out of steps finds no file, not
// another file.
func TestNoFileWithoutSteps(t *testing.T) {
	lower, _ := layer(t, file("bin/haproxy", "old"), file("usr/bin/haproxy", "new"))
	upper, _ := layer(t, symlink("bin", "usr/bin"))
	for n := range 1000 {
		steps := NewSteps(n)
		f, ok := NewTree([]*Layer{lower, upper}, steps).Lookup("/bin/haproxy")
		if ok && f.Path != "/usr/bin/haproxy" || ok == steps.Exceeded() {
			t.Fatalf("%d steps: %+v, found %v, exceeded %v", n, f, ok, steps.Exceeded())
		}
	}
}

func TestChainsOfHardLinks(t *testing.T) {
	for _, tt := range []struct {
		length   int
		found    bool
		exceeded bool
	}{{maxHardLinks, true, false}, {maxHardLinks + 1, false, true}} {
		entries := []entry{file("0", "a")}
		for i := range tt.length {
			entries = append(entries, hardlink(fmt.Sprint(i+1), fmt.Sprint(i)))
		}
		l, err := readLayer(bytes.NewReader(archive(t, entries...)), Limits{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		steps := NewSteps(DefaultSteps)
		_, found := NewTree([]*Layer{l}, steps).Lookup(fmt.Sprintf("/%d", tt.length))
		if found != tt.found || steps.Exceeded() != tt.exceeded {
			t.Errorf("%d links: found %v, exceeded %v", tt.length, found, steps.Exceeded())
		}
	}
}

// TestImpliedDirectoriesCount: a layer of few entries may imply many directories,
// which take memory like entries.
func TestImpliedDirectoriesCount(t *testing.T) {
	var entries []entry
	for i := range 10 {
		entries = append(entries, file(fmt.Sprintf("%d/%sf", i, strings.Repeat("d/", 99)), ""))
	}
	data := archive(t, entries...)
	for limit, want := range map[int]error{10 * 101: nil, 10*101 - 1: ErrTooLarge} {
		if _, err := readLayer(bytes.NewReader(data), Limits{Entries: limit}, nil, nil); !errors.Is(err, want) {
			t.Errorf("limit %d: got %v, want %v", limit, err, want)
		}
	}
}
