package policy

import (
	"path"
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

const (
	// maxNames bounds the names, in bytes, that a command line is searched for: a Pod may have
	// 3 MiB of words.
	maxNames = 64 << 10
	// maxPrograms bounds the programs of one image that are searched for.
	maxPrograms = 32
	// maxOrigin bounds the first word of a command line in a text, in bytes.
	maxOrigin = 100
)

// commandLine is the part of the words of a container that may name a program. Words beyond a
// bound are unknown words: they may name any.
type commandLine struct {
	// origin is the origin of the words, with a verb to negate.
	origin string
	// unknown: nothing is known about the words, or not all.
	unknown bool
	// names are base names, each behind a slash, which is in none of them.
	names string
	// searched are the answers by program.
	searched map[program]bool
}

// program is what a command line is searched for.
type program struct{ base, product string }

// line returns the command line of a container with an image of this configuration, or nil.
func (r Run) line(image *report.Configuration) *commandLine {
	line := &commandLine{searched: map[program]bool{}}
	var words []string
	switch {
	case r.Command != nil:
		line.origin, words = "The container's command ("+shortened(r.Command[0])+") does", r.Command
	case image == nil || len(image.Entrypoint)+len(image.Command) == 0:
		return &commandLine{unknown: true}
	case len(r.Args) == 0:
		words = slices.Concat(image.Entrypoint, image.Command)
		line.origin = "The image's entry point (" + shortened(words[0]) + ") does"
	default:
		words = slices.Concat(image.Entrypoint, r.Args)
		line.origin = "The image's entry point and the container's arguments (" + shortened(words[0]) + ") do"
		// An entry point with options alone passes them to the program of its own choice.
		if strings.HasPrefix(r.Args[0], "-") && len(image.Entrypoint) > 0 {
			words = append(words, image.Command...)
		}
	}
	line.names, line.unknown = namesIn(words)
	return line
}

// namesIn returns the base names of the words, and of the words of a script, each once and behind
// a slash; beyond reports whether there are more than fit. The name of a configuration file is
// left out.
func namesIn(words []string) (names string, beyond bool) {
	var b strings.Builder
	known := map[string]bool{}
	for _, word := range words {
		for part := range strings.FieldsFuncSeq(word, product.SeparatesWords) {
			name := path.Base(part)
			if extension := path.Ext(name); extension == ".cfg" || extension == ".conf" || known[name] {
				continue
			}
			if b.Len()+len(name) >= maxNames {
				return b.String(), true
			}
			known[name] = true
			b.WriteByte('/')
			b.WriteString(name)
		}
	}
	return b.String(), false
}

// starts reports whether a word names the binary or its product, or may do so.
func (l *commandLine) starts(b *report.Binary) bool {
	if l.unknown {
		return true
	}
	p := program{path.Base(b.Path), productOf(b)}
	found, searched := l.searched[p]
	if !searched {
		if len(l.searched) >= maxPrograms {
			return true
		}
		found = strings.Contains(l.names, p.base) || p.product != "" && strings.Contains(l.names, p.product)
		l.searched[p] = found
	}
	return found
}

// shortened returns a word that is fit for a text.
func shortened(word string) string {
	if len(word) <= maxOrigin {
		return word
	}
	return strings.ToValidUTF8(word[:maxOrigin], "") + "…"
}
