package prove

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// The interface between command witness and the machine that boots it: paths in
// the guest, and prefixes of its console lines.
const (
	GuestProgram = "/usr/sbin/haproxy"
	GuestConfig  = "/config"
	GuestSocket  = "/tmp/socket"

	LineServed = "witness: served"  // the program answered
	LineLog    = "witness: log: "   // a line of the kernel's log follows
	LineDone   = "witness: done"    // all was printed
	LineFailed = "witness: failed:" // why follows
)

// WitnessName is the name of the process of command witness, as the kernel
// knows it.
const WitnessName = "witness"

// Testimony is the parsed console output of a booted kernel.
type Testimony struct {
	Kernel string // its version line
	Line   string // the line about 32-bit capabilities
	// Offender is the process that the line names: the first one to pass the
	// legacy header.
	Offender string
}

// legacy is the warning of the kernel's kernel/capability.c.
var legacy = regexp.MustCompile("capability: warning: `([^']*)' uses 32-bit capabilities")

// ReadTestimony reads a guest's console. That the program served, and that the
// kernel warned of someone, is required: witness is the last to give it reason.
func ReadTestimony(console io.Reader) (Testimony, error) {
	var found Testimony
	var served, done bool
	var failures []error
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		logged, isLog := strings.CutPrefix(line, LineLog)
		switch {
		case line == LineServed:
			served = true
		case line == LineDone:
			done = true
		case strings.HasPrefix(line, LineFailed):
			failures = append(failures, errors.New(line))
		case isLog && strings.Contains(logged, "Linux version"):
			found.Kernel = logged
		case isLog:
			if match := legacy.FindStringSubmatch(logged); match != nil && found.Offender == "" {
				found.Line, found.Offender = logged, match[1]
			}
		}
	}
	if err := lines.Err(); err != nil {
		return found, err
	}
	switch {
	case len(failures) > 0:
		return found, errors.Join(failures...)
	case !served || !done:
		return found, fmt.Errorf("the guest did not come to its end (served: %t)", served)
	case found.Offender == "":
		return found, errors.New("the kernel's log names no program, not even the witness, which passed the legacy header")
	}
	return found, nil
}
