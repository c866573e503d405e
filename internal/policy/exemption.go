package policy

import (
	"regexp"
	"strings"
	"time"

	"github.com/capvet/capvet/api/v1alpha1"
)

type exemption struct {
	images  []*regexp.Regexp
	reason  string
	expires time.Time // zero: never
}

func compileExemption(e *v1alpha1.Exemption) exemption {
	compiled := exemption{reason: e.Reason}
	if e.Expires != nil {
		compiled.expires = e.Expires.Time
	}
	for _, pattern := range e.Images {
		compiled.images = append(compiled.images, compileGlob(pattern))
	}
	return compiled
}

// compileGlob turns a pattern of image names into an expression: "**" stands
// for any characters, "*" for any but "/", everything else for itself.
func compileGlob(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`^`)
	for i, part := range strings.Split(pattern, "**") {
		if i > 0 {
			b.WriteString(`.*`)
		}
		for j, literal := range strings.Split(part, "*") {
			if j > 0 {
				b.WriteString(`[^/]*`)
			}
			b.WriteString(regexp.QuoteMeta(literal))
		}
	}
	b.WriteString(`$`)
	return regexp.MustCompile(b.String()) // every part is quoted: it always compiles
}

// exempts returns the exemption under which p leaves the image alone.
func (p *Policy) exempts(now time.Time, name string) (exemption, bool) {
	for _, e := range p.exemptions {
		if !e.expires.IsZero() && !now.Before(e.expires) {
			continue
		}
		for _, image := range e.images {
			if image.MatchString(name) {
				return e, true
			}
		}
	}
	return exemption{}, false
}
