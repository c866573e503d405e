package elfcaps

import (
	"cmp"
	"slices"

	"github.com/capvet/capvet/internal/report"
)

const (
	// maxReported is the number of reported calls of each system call.
	maxReported = 128
	// maxReportedName is the length of a reported symbol, in bytes.
	maxReportedName = 256
)

// keepWorst drops all but the worst calls of each system call, and reports whether there were more.
func (a *analysis) keepWorst() bool {
	total := len(a.found)
	if total <= maxReported {
		return false
	}
	slices.SortStableFunc(a.found, func(x, y finding) int {
		switch {
		case x.abi == y.abi:
			return 0
		case report.WorseABI(x.abi, y.abi) == x.abi:
			return -1
		}
		return 1
	})
	number := map[string]int{}
	a.found = slices.DeleteFunc(a.found, func(x finding) bool {
		number[x.syscall]++
		return number[x.syscall] > maxReported
	})
	slices.SortStableFunc(a.found, byAddress)
	return len(a.found) < total
}

func byAddress(x, y finding) int {
	return cmp.Or(cmp.Compare(x.PC, y.PC), cmp.Compare(x.syscall, y.syscall), cmp.Compare(x.abi, y.abi))
}

// short returns the beginning of a name.
func short(name string) string { return name[:min(len(name), maxReportedName)] }
