package policy

import (
	"regexp"
	"slices"
	"time"
)

// Exemption excludes images from a policy.
type Exemption struct {
	// Images match the full names of images.
	Images []*regexp.Regexp
	Reason string
	// Expires ends the exemption; zero means never.
	Expires time.Time
}

// exemptionOf returns the exemption that excludes the image from p, nil if there
// is none.
func (p *Policy) exemptionOf(now time.Time, name string) *Exemption {
	for i := range p.Exemptions {
		e := &p.Exemptions[i]
		expired := !e.Expires.IsZero() && !now.Before(e.Expires)
		if !expired && slices.ContainsFunc(e.Images, func(image *regexp.Regexp) bool { return image.MatchString(name) }) {
			return e
		}
	}
	return nil
}
