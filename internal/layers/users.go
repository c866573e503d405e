package layers

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/capvet/capvet/internal/imagefs"
	"github.com/capvet/capvet/internal/report"
)

const (
	// passwdFile is where a runtime looks up a USER that is a name.
	passwdFile = "/etc/passwd"
	// maxUsers bounds the users read from an image; the first ones count.
	maxUsers = 1024
)

// parsePasswd parses passwd(5) as container runtimes do (moby/sys/user): the
// first line of a name counts, and a UID that is no number is 0.
func parsePasswd(text []byte) map[string]int64 {
	users := map[string]int64{}
	for line := range bytes.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(string(line)), ":", 4)
		name := fields[0]
		if _, known := users[name]; known || name == "" || len(name) > maxUserBytes {
			continue
		}
		if len(users) == maxUsers {
			break
		}
		users[name] = 0
		if len(fields) > 2 {
			if uid, err := strconv.ParseInt(fields[2], 10, 32); err == nil {
				users[name] = uid
			}
		}
	}
	return users
}

// userName returns the image's user if it is a name; empty for a number or no
// user.
func userName(c *report.Configuration) string {
	if c == nil {
		return ""
	}
	name, _, _ := strings.Cut(c.User, ":")
	if _, err := strconv.ParseInt(name, 10, 64); err == nil {
		return ""
	}
	return name
}

// withUID adds the UID of a user name from the image's own passwd(5).
func (s stack) withUID(tree imagefs.Tree, c *report.Configuration) *report.Configuration {
	name := userName(c)
	f, ok := tree.Lookup(passwdFile)
	if name == "" || !ok {
		return c
	}
	uid, ok := s.result(f).users[name]
	if !ok {
		return c
	}
	resolved := *c
	resolved.UID = &uid
	return &resolved
}
