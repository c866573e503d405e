package policy

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/capvet/capvet/internal/report"
)

// TestEvaluateGrowth: twice the words of a Pod and twice the binaries of its image are twice the
// work, not four times. It is counted in bytes allocated.
func TestEvaluateGrowth(t *testing.T) {
	everything := labels.Everything()
	policies := []Policy{{
		Name: "p", Namespaces: everything, Pods: everything, Architectures: []string{"arm64"}, Action: ActionReject, StartOnly: true,
		OnUnknown: ActionWarn,
	}}
	for name, run := range map[string]func(n int) Run{
		"words":           func(n int) Run { return Run{Command: strings.Split(strings.Repeat("a b", n), "b")} },
		"a script":        func(n int) Run { return Run{Command: []string{"sh", "-c", strings.Repeat("a;", n)}} },
		"different words": func(n int) Run { return Run{Args: numbered("w%d", n)} },
		"a long word":     func(n int) Run { return Run{Command: []string{strings.Repeat("a", n)}} },
		"mounts":          func(n int) Run { return Run{Mounts: numbered("/%d", n), User: UserNonRoot} },
		"files":           func(n int) Run { return Run{Command: slices.Concat([]string{"haproxy", "--"}, numbered("/%d", n))} },
	} {
		measure := func(n int) uint64 {
			image := Image{Containers: []string{"c"}, Reference: "x", Architecture: "arm64", Run: run(n * 64), Report: &report.Report{
				Complete: true, Configuration: says("99", "haproxy", "-f", "/etc/haproxy.cfg")}}
			for i := range n {
				b := *triggered("haproxy", whenStart)
				b.Path = fmt.Sprintf("/usr/sbin/b%d", i)
				image.Report.Binaries = append(image.Report.Binaries, b)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			image.MountedFiles()
			decision := Evaluate(time.Time{}, policies, []Image{image})
			runtime.ReadMemStats(&after)
			if len(decision.Findings) != n {
				t.Errorf("%s: %d findings of %d", name, len(decision.Findings), n)
			}
			return after.TotalAlloc - before.TotalAlloc
		}
		const n = 256
		if before, after := measure(n), measure(2*n); after > 3*before+1<<20 {
			t.Errorf("%s: %d bytes, then %d", name, before, after)
		}
	}
}

func numbered(format string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}

// TestWordsBeyondBounds: a program may be named by words that are not looked at. It then counts
// as started.
func TestWordsBeyondBounds(t *testing.T) {
	many := numbered("word-%d", maxNames)
	for _, tt := range []struct {
		name    string
		command []string
		want    report.When
	}{
		{"another program", []string{"sleep"}, whenUnknown},
		{"the same word", slices.Repeat([]string{"sleep"}, maxNames), whenUnknown},
		{"too many words", many, whenStart},
		{"a word too long", []string{strings.Repeat("x", maxNames)}, whenStart},
	} {
		a := Run{Command: tt.command, User: UserNonRoot}.assessor(&report.Report{})
		if got := a.assess(triggered("haproxy", whenStart)).trigger; got.When != tt.want {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
	a := Run{Command: []string{"sleep"}}.assessor(&report.Report{})
	for i := range maxPrograms + 1 {
		b := triggered("haproxy", whenStart)
		b.Path = fmt.Sprint("/bin/b", i)
		if got, beyond := a.assess(b).trigger.When, i >= maxPrograms; (got == whenStart) != beyond {
			t.Errorf("program %d: %s", i, got)
		}
	}
}
