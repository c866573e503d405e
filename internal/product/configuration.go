package product

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/capvet/capvet/internal/report"
)

// MaxSettings is the size, in bytes, above which a configuration file is not read.
const MaxSettings = 1 << 20

// Configuration describes the configuration files of a product.
type Configuration struct {
	// Section holds the Directives that decide when calls run.
	Section    string
	Directives []Directive
	// FileOption precedes the name of a file on the command line, FilesAfter all further
	// files, and DirectoryOption a directory that relative names are in.
	FileOption, FilesAfter, DirectoryOption string
	// Parse reads one file; false if the text is no configuration, or if it does not
	// determine the directives.
	Parse func(text []byte) (report.Settings, bool)
}

// Directive is one directive of a configuration.
type Directive struct {
	Text string
	// In reports whether the settings have it; nil where they are never read.
	In func(report.Settings) bool
}

// maxFiles bounds the configuration files of one command line.
const maxFiles = 64

// Files returns the configuration files that a command line names, false if there is none
// or if they cannot be determined: in a script, with a relative path, or more than maxFiles.
func (c *Configuration) Files(words []string) ([]string, bool) {
	var files []string
	for i, word := range words {
		switch {
		case strings.ContainsFunc(word, SeparatesWords), word == c.DirectoryOption, len(files) > maxFiles:
			return nil, false
		case word == c.FilesAfter:
			if len(words)-i-1 > maxFiles {
				return nil, false
			}
			files = append(files, words[i+1:]...)
			return files, len(files) > 0 && len(files) <= maxFiles && !slices.ContainsFunc(files, func(f string) bool { return !path.IsAbs(f) })
		case word == c.FileOption && i+1 < len(words) && path.IsAbs(words[i+1]):
			files = append(files, words[i+1])
		case word == c.FileOption:
			return nil, false
		}
	}
	return files, len(files) > 0 && len(files) <= maxFiles
}

// SeparatesWords reports whether a character ends a word of a shell script.
func SeparatesWords(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(";&|()'\"`", r) }

// Describe lists the directives of the section that the settings have and lack, as in
// "has A but no B".
func (c *Configuration) Describe(s report.Settings) string {
	var has, lacks []string
	for _, d := range c.Directives {
		if d.In(s) {
			has = append(has, d.Text)
		} else {
			lacks = append(lacks, d.Text)
		}
	}
	switch {
	case len(lacks) == 0:
		return "has " + strings.Join(has, " and ")
	case len(has) == 0:
		return "has no " + strings.Join(lacks, " or ")
	}
	return "has " + strings.Join(has, " and ") + " but no " + strings.Join(lacks, " or ")
}

// Settings reads a configuration file of any product; false if no product knows it.
func Settings(text []byte) (report.Settings, bool) {
	if len(text) > MaxSettings || bytes.IndexByte(text, 0) >= 0 {
		return report.Settings{}, false
	}
	for _, p := range known {
		if p.Configuration != nil {
			if s, ok := p.Configuration.Parse(text); ok {
				return s, true
			}
		}
	}
	return report.Settings{}, false
}

// haproxySettings reads the global section of a HAProxy configuration; a file without that
// section, as part of a configuration of several files, has no settings. It reports false
// for a text without any section, and for one with conditional blocks, which depend on the
// environment of the process. Sources: src/cfgparse.c for the grammar,
// src/cfgparse-global.c and src/linuxcap.c for the keywords.
func haproxySettings(text []byte) (report.Settings, bool) {
	var s report.Settings
	section, global := false, false
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

// isSection reports whether a line with that first word begins a section other than
// global.
func isSection(keyword string) bool {
	return slices.Contains([]string{
		"defaults", "frontend", "backend", "listen", "peers", "mailers", "namespace_list", "resolvers", "userlist", "cache", "program",
		"http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "dynamic-update", "acme", "healthcheck",
	}, keyword)
}

// configWords splits a line as HAProxy does: at blanks outside quotes and without a
// backslash, up to a comment. Variables stay as they are written.
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
