package prove

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

var (
	// traced is a line of strace's about a capability call, with the process
	// before it. A call that another process interrupts has two lines, and its
	// arguments in either.
	traced = regexp.MustCompile(`^(?:\d+\s+)?(?:<\.\.\. )?(capget|capset)(?:\(| resumed>)(.*)$`)
	// version is the header's version: its name in strace's table, or else the
	// number.
	version = regexp.MustCompile(`\bversion=(\w+)`)
)

// abiOf reads strace's name of a header's version.
func abiOf(name string) (report.ABI, bool) {
	switch name {
	case "_LINUX_CAPABILITY_VERSION_1":
		return report.ABIV1, true
	case "_LINUX_CAPABILITY_VERSION_2":
		return report.ABIV2, true
	case "_LINUX_CAPABILITY_VERSION_3":
		return report.ABIV3, true
	}
	return report.ABIUnknown, false
}

// ParseTrace returns the capability calls in the output of strace -f -e
// trace=capget,capset -v.
func ParseTrace(trace io.Reader) ([]Call, error) {
	var calls []Call
	lines := bufio.NewScanner(trace)
	for lines.Scan() {
		line := traced.FindStringSubmatch(lines.Text())
		if line == nil {
			continue // an exit, a signal
		}
		header := version.FindStringSubmatch(line[2])
		if header == nil {
			if strings.Contains(line[2], "<unfinished") || strings.Contains(lines.Text(), "resumed>") {
				continue
			}
			return nil, fmt.Errorf("strace shows no header: %q", lines.Text())
		}
		abi, known := abiOf(header[1])
		if !known {
			return nil, fmt.Errorf("strace shows no known version: %q", lines.Text())
		}
		calls = append(calls, Call{Syscall: line[1], ABI: abi})
	}
	return calls, lines.Err()
}
