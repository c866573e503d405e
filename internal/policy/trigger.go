package policy

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

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
	// Mounts are where the container has volumes, sorted: what the image holds
	// there is not what runs.
	Mounts []string
	// Mounted is what configuration files say that lie in those volumes, by Path,
	// as far as somebody read them.
	Mounted []report.Settings
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
// (OCI image specification, "config"). A name is what the image's own /etc/passwd
// makes of it; one that is not found there, other than root, is not known.
func userOf(c *report.Configuration) User {
	name, _, _ := strings.Cut(c.User, ":")
	id, err := strconv.ParseInt(name, 10, 64)
	switch known := c.UID != nil; {
	case known && *c.UID == 0, !known && (name == "" || name == "root"), !known && err == nil && id == 0:
		return UserRoot
	case known, err == nil:
		return UserNonRoot
	}
	return UserOfImage
}

// Trigger says when the calls of a binary run, given how this container runs
// it and, where the Pod does not say, what the image does (nil: it is not
// known). The report knows the product's ways; what is added here is the
// container's part. Nil when there is nothing to trigger.
func (r Run) Trigger(b *report.Binary, image *report.Report) *report.Trigger {
	if b == nil || b.Trigger == nil {
		return nil
	}
	var c *report.Configuration
	if image != nil {
		c = image.Configuration
	}
	if by, named := r.names(b, c); !named {
		return &report.Trigger{When: report.WhenUnknown, Why: "is not what " + by + ", which may or may not start it"}
	}
	user, here := r.User, "here"
	if user == UserOfImage && c != nil {
		user, here = userOf(c), "here (the image's user)"
	}
	// The user decides about the legacy calls; later releases may make others.
	root, known := rootTriggers()[productOf(b)]
	if !known || !b.Capset.ABI.Legacy() || user == UserOfImage {
		return b.Trigger
	}
	atStart := b.Trigger.When == report.WhenStart
	if settings, read := r.settings(b, image); read && (atStart || b.Trigger.When == report.WhenConditional) {
		return settled(settings, user, here, atStart)
	}
	switch {
	case user == UserRoot && atStart:
		return &report.Trigger{When: report.WhenConditional, Why: "is started as root " + here + ", so it runs only with " + root}
	case user == UserNonRoot && atStart:
		return &report.Trigger{When: report.WhenStart, Why: "is started as non-root " + here + ", so it runs at every start, unless global has user or uid"}
	case user == UserRoot && b.Trigger.When == report.WhenConditional:
		return &report.Trigger{When: report.WhenConditional, Why: "is started as root " + here + ", so it runs with " + root}
	case user == UserNonRoot && b.Trigger.When == report.WhenConditional:
		return &report.Trigger{When: report.WhenConditional, Why: "runs only when started as root, with " + root + "; it is started as non-root " + here}
	}
	return b.Trigger
}

// settled says when HAProxy's calls run under a configuration that is known.
// Source: src/linuxcap.c. atStart says that this version asks for its own
// capabilities at the start when nothing has it change its user.
func settled(s report.Settings, user User, here string, atStart bool) *report.Trigger {
	runs := s.User && s.SetCap
	if user == UserNonRoot {
		runs = atStart && !s.User
	}
	why := fmt.Sprintf("is started as %s %s, and global of %s %s", map[User]string{UserRoot: "root", UserNonRoot: "non-root"}[user], here, s.Path, has(s))
	if runs {
		return &report.Trigger{When: report.WhenStart, Why: why + ", so it runs at every start"}
	}
	return &report.Trigger{When: report.WhenConditional, Why: why + ", so it does not run"}
}

// has words what the global section has.
func has(s report.Settings) string {
	switch {
	case s.User && s.SetCap:
		return "has user or uid and setcap"
	case s.User:
		return "has user or uid but no setcap"
	case s.SetCap:
		return "has setcap but no user or uid"
	}
	return "has no user, uid or setcap"
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

// starts says that some word, or one within a script, names the binary or its
// product. A configuration file's name does not.
func starts(b *report.Binary, words []string) bool {
	product := productOf(b)
	return slices.ContainsFunc(words, func(word string) bool {
		return slices.ContainsFunc(strings.FieldsFunc(word, separates), func(part string) bool {
			name := path.Base(part)
			return path.Ext(name) != ".cfg" && path.Ext(name) != ".conf" &&
				(strings.Contains(name, path.Base(b.Path)) || product != "" && strings.Contains(name, product))
		})
	})
}

// separates says that a character ends a word of a shell script.
func separates(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(";&|()'\"`", r) }
