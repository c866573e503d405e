// Package prove compares capvet's verdicts with running programs: the same
// executables run under strace, and on an arm64 kernel whose log names the program
// that passed it the legacy header.
//
// Its tests run foreign programs, mostly as root, for a minute or two. So they
// have the build tag prove, and make prove runs them. The programs are Debian's
// packages, builds of HAProxy's source and the project's fixtures, all trusted.
package prove

import (
	"fmt"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// Call is one capability call that was seen.
type Call struct {
	Syscall string // capget or capset
	ABI     report.ABI
}

func (c Call) String() string { return c.Syscall + " " + string(c.ABI) }

// Contradictions returns the contradictions between a verdict and the observed
// calls of one run, one text each. must are the system calls that such a run is
// known to make; if it is empty, any call is a contradiction.
func Contradictions(verdict report.Capset, seen []Call, must []string) []string {
	var found []string
	for _, call := range unique(seen) {
		listed := slices.ContainsFunc(verdict.Calls, func(c report.Call) bool { return c.Syscall == call.Syscall && c.ABI == call.ABI })
		switch {
		case !listed:
			found = append(found, fmt.Sprintf("%s was seen, the verdict does not list it", call))
		case len(must) == 0:
			found = append(found, fmt.Sprintf("%s was seen in a run that should make no call", call))
		}
	}
	for _, name := range must {
		if !slices.ContainsFunc(seen, func(c Call) bool { return c.Syscall == name }) {
			found = append(found, fmt.Sprintf("no %s was seen in a run that should make one", name))
		}
	}
	return found
}

// unique returns each call once, in order of first sight.
func unique(calls []Call) []Call {
	var once []Call
	for _, call := range calls {
		if !slices.Contains(once, call) {
			once = append(once, call)
		}
	}
	return once
}

// Summary is calls in one line: each once, with how often.
func Summary(calls []Call) string {
	if len(calls) == 0 {
		return "nothing"
	}
	var parts []string
	for _, call := range unique(calls) {
		times := 0
		for _, other := range calls {
			if other == call {
				times++
			}
		}
		part := call.String()
		if times > 1 {
			part += fmt.Sprintf(" x%d", times)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
