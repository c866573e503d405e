package policy

import (
	"slices"
	"time"
)

// Exemption excludes images from a policy.
type Exemption struct {
	// Images are patterns for the full names of images, as in v1alpha1.Exemption.
	Images []string
	Reason string
	// Expires ends the exemption; zero means never.
	Expires time.Time
}

// Exempt determines for each image the policies that exempt it. Wanted and Evaluate do
// so themselves for other images, each time.
func Exempt(now time.Time, policies []Policy, images []Image) {
	for i := range images {
		images[i].Exempting = images[i].exempting(now, policies)
	}
}

// exempting returns the exemptions of the image by the policy's name; nil if no policy has
// exemptions.
func (i Image) exempting(now time.Time, policies []Policy) map[string]*Exemption {
	exempts := func(p Policy) bool { return len(p.Exemptions) > 0 }
	if i.Exempting != nil || !slices.ContainsFunc(policies, exempts) {
		return i.Exempting
	}
	found := map[string]*Exemption{}
	names := newGlobs(i.Name)
	for j := range policies {
		if e := policies[j].exemptionOf(now, &names); e != nil {
			found[policies[j].Name] = e
		}
	}
	return found
}

// exemptionOf returns the first exemption that matches, nil if there is none.
func (p *Policy) exemptionOf(now time.Time, name *globs) *Exemption {
	for i := range p.Exemptions {
		e := &p.Exemptions[i]
		expired := !e.Expires.IsZero() && !now.Before(e.Expires)
		if !expired && slices.ContainsFunc(e.Images, name.match) {
			return e
		}
	}
	return nil
}
