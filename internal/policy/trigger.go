package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// Run is how a container runs an image, as far as the Pod says.
type Run struct {
	User User
	// Command is the container's command and arguments when it has a command of
	// its own; nil when the image's entry point runs.
	Command []string
	// Args are the container's arguments when it has no command of its own: they
	// go to the image's entry point.
	Args []string
}

// User is what is known of the user that a container starts as.
type User string

// Users.
const (
	UserOfImage User = "" // the image says, which a Pod does not see
	UserRoot    User = "root"
	UserNonRoot User = "nonRoot"
)

// Trigger says when the calls of a binary run, given how this container runs
// it. The report knows the product's ways; what is added here is the Pod's part.
// Nil when there is nothing to trigger.
func (r Run) Trigger(b *report.Binary) *report.Trigger {
	if b == nil || b.Trigger == nil {
		return nil
	}
	if r.Command != nil && !r.starts(b) {
		return &report.Trigger{
			When: report.WhenUnknown,
			Why:  "is not what the container's command names (" + r.Command[0] + "), which may or may not start it",
		}
	}
	// The user decides about the legacy calls; later releases may make others.
	root, known := rootTriggers()[productOf(b)]
	if !known || !b.Capset.ABI.Legacy() || r.User == UserOfImage {
		return b.Trigger
	}
	switch {
	case r.User == UserRoot && b.Trigger.When == report.WhenStart:
		return &report.Trigger{When: report.WhenConditional, Why: "is started as root here, so it runs only with " + root}
	case r.User == UserNonRoot && b.Trigger.When == report.WhenStart:
		return &report.Trigger{When: report.WhenStart, Why: "is started as non-root here, so it runs at every start, unless global has user or uid"}
	case r.User == UserRoot && b.Trigger.When == report.WhenConditional:
		return &report.Trigger{When: report.WhenConditional, Why: "is started as root here, so it runs with " + root}
	case r.User == UserNonRoot && b.Trigger.When == report.WhenConditional:
		return &report.Trigger{When: report.WhenConditional, Why: "runs only when started as root, with " + root + "; this Pod does not start it as root"}
	}
	return b.Trigger
}

// rootTriggers returns, by product, what a configuration must hold for the calls
// to run in a program that is started as root. Sources: src/linuxcap.c of
// HAProxy, src/os/unix/ngx_process_cycle.c of nginx, which the others derive
// from.
func rootTriggers() map[string]string {
	const transparent = "a user directive other than root and some bind ... transparent"
	return map[string]string{
		"haproxy": "user or uid and setcap in global",
		"nginx":   transparent, "openresty": transparent, "tengine": transparent, "angie": transparent, "freenginx": transparent,
	}
}

func productOf(b *report.Binary) string {
	if b.Product == nil {
		return ""
	}
	return b.Product.Name
}

// starts says that the command names the binary, as itself or within a script.
func (r Run) starts(b *report.Binary) bool {
	return slices.ContainsFunc(r.Command, func(word string) bool { return strings.Contains(word, path.Base(b.Path)) })
}
