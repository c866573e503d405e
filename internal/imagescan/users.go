package imagescan

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

const (
	// passwdFile is where a runtime looks up a USER that is a name.
	passwdFile = "/etc/passwd"
	// maxUsers is how many users of an image are known, the first ones.
	maxUsers = 1024
)

// usersOf reads a passwd(5) as container runtimes do (moby/sys/user): of two lines
// about one name the first holds, and what is no number is 0.
func usersOf(text []byte) map[string]int64 {
	users := map[string]int64{}
	for line := range bytes.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(string(line)), ":", 4)
		name := fields[0]
		if _, known := users[name]; known || name == "" || len(name) > maxUser {
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

// userByName returns the name of an image's user; empty if it is a number, or none.
func userByName(says *report.Configuration) string {
	if says == nil {
		return ""
	}
	name, _, _ := strings.Cut(says.User, ":")
	if _, err := strconv.ParseInt(name, 10, 64); err == nil {
		return ""
	}
	return name
}

// withUser adds what the name of the image's user comes to in its layers.
func (s stack) withUser(says *report.Configuration) *report.Configuration {
	name := userByName(says)
	f, ok := s.tree().Lookup(passwdFile)
	if name == "" || !ok {
		return says
	}
	uid, ok := s.summaries[f.Layer].files[f.Source].users[name]
	if !ok {
		return says
	}
	resolved := *says
	resolved.UID = &uid
	return &resolved
}
