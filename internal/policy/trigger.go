package policy

import (
	"path"
	"slices"
	"strconv"
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
	UserOfImage User = "" // the image says
	UserRoot    User = "root"
	UserNonRoot User = "nonRoot"
)

// userOf tells what the image's own user is: none, and the number 0, are root
// (OCI image specification, "config"). A name other than root is taken for
// someone else's, as it is in every image that sets one for safety.
func userOf(image string) User {
	name, _, _ := strings.Cut(image, ":")
	if id, err := strconv.ParseInt(name, 10, 64); name == "" || name == "root" || err == nil && id == 0 {
		return UserRoot
	}
	return UserNonRoot
}

// Trigger says when the calls of a binary run, given how this container runs
// it and, where the Pod does not say, what the image's configuration does (nil:
// it is not known). The report knows the product's ways; what is added here is
// the container's part. Nil when there is nothing to trigger.
func (r Run) Trigger(b *report.Binary, image *report.Configuration) *report.Trigger {
	if b == nil || b.Trigger == nil {
		return nil
	}
	if by, named := r.names(b, image); !named {
		return &report.Trigger{When: report.WhenUnknown, Why: "is not what " + by + ", which may or may not start it"}
	}
	user, here := r.User, "here"
	if user == UserOfImage && image != nil {
		user, here = userOf(image.User), "here (the image's user)"
	}
	// The user decides about the legacy calls; later releases may make others.
	root, known := rootTriggers()[productOf(b)]
	if !known || !b.Capset.ABI.Legacy() || user == UserOfImage {
		return b.Trigger
	}
	switch {
	case user == UserRoot && b.Trigger.When == report.WhenStart:
		return &report.Trigger{When: report.WhenConditional, Why: "is started as root " + here + ", so it runs only with " + root}
	case user == UserNonRoot && b.Trigger.When == report.WhenStart:
		return &report.Trigger{When: report.WhenStart, Why: "is started as non-root " + here + ", so it runs at every start, unless global has user or uid"}
	case user == UserRoot && b.Trigger.When == report.WhenConditional:
		return &report.Trigger{When: report.WhenConditional, Why: "is started as root " + here + ", so it runs with " + root}
	case user == UserNonRoot && b.Trigger.When == report.WhenConditional:
		return &report.Trigger{When: report.WhenConditional, Why: "runs only when started as root, with " + root + "; it is started as non-root " + here}
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

// names reports whether what the container runs names the binary, as itself or
// within a script, and if not, what was looked at. What is not known may.
func (r Run) names(b *report.Binary, image *report.Configuration) (by string, named bool) {
	switch {
	case r.Command != nil:
		return "the container's command names (" + r.Command[0] + ")", starts(b, r.Command)
	case image == nil || len(image.Entrypoint)+len(image.Command) == 0:
		return "", true
	case len(r.Args) == 0:
		words := slices.Concat(image.Entrypoint, image.Command)
		return "the image's entry point names (" + words[0] + ")", starts(b, words)
	}
	words := slices.Concat(image.Entrypoint, r.Args)
	// An entry point that is given options alone puts them behind what it starts
	// by itself.
	options := strings.HasPrefix(r.Args[0], "-") && len(image.Entrypoint) > 0
	return "the image's entry point and the container's arguments name (" + words[0] + ")",
		starts(b, words) || options && starts(b, image.Command)
}

// starts says that some word names the binary or its product.
func starts(b *report.Binary, words []string) bool {
	product := productOf(b)
	return slices.ContainsFunc(words, func(word string) bool {
		return strings.Contains(word, path.Base(b.Path)) || product != "" && strings.Contains(word, product)
	})
}
