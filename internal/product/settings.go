package product

import (
	"bytes"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// MaxSettings is the largest configuration file, in bytes, that is worth giving
// to Settings.
const MaxSettings = 1 << 20

// Settings reads what the global section of a HAProxy configuration says that
// decides when capability calls run: nothing where there is no such section, as in
// the other files of a configuration that has several. It reports false for a text
// without any section, which is none, and for one where it cannot be told:
// conditional blocks depend on what is known only when the program starts. The grammar is that of
// src/cfgparse.c; the keywords are in src/cfgparse-global.c and src/linuxcap.c.
func Settings(text []byte) (report.Settings, bool) {
	var s report.Settings
	section, global := false, false
	if len(text) > MaxSettings || bytes.IndexByte(text, 0) >= 0 {
		return s, false
	}
	for _, line := range strings.Split(string(text), "\n") {
		words := configWords(line)
		if len(words) == 0 {
			continue
		}
		switch keyword := words[0]; {
		case strings.HasPrefix(keyword, ".if"):
			return report.Settings{}, false
		case keyword == "global":
			section, global = true, true
		case isSection(keyword):
			section, global = true, false
		case !global || len(words) < 2:
		case keyword == "user" && words[1] != "root", keyword == "uid" && strings.Trim(words[1], "0") != "":
			s.User = true
		case keyword == "setcap":
			s.SetCap = true
		}
	}
	return s, section
}

// isSection reports whether a line of that first word begins a section other
// than global.
func isSection(keyword string) bool {
	switch keyword {
	case "defaults", "frontend", "backend", "listen", "peers", "mailers", "namespace_list", "resolvers", "userlist", "cache", "program",
		"http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "dynamic-update", "acme", "healthcheck":
		return true
	}
	return false
}

// configWords splits a line as HAProxy does: at blanks, but for what quotes and
// backslashes protect, up to a comment. Variables stay as they are written.
func configWords(line string) []string {
	var words []string
	var word strings.Builder
	in, quote := false, byte(0)
	end := func() {
		if in {
			words = append(words, word.String())
		}
		word.Reset()
		in = false
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			in = true
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && c == '#':
			end()
			return words
		case quote == 0 && (c == ' ' || c == '\t' || c == '\r'):
			end()
		default:
			word.WriteByte(c)
			in = true
		}
	}
	end()
	return words
}
