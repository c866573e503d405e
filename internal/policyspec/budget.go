package policyspec

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/capvet/capvet/api/v1alpha1"
)

// Budget of the CapsetPolicies of one namespace together, for the cost of its reviews.
const (
	maxNamespacePolicies = 32
	maxNamespaceBytes    = 64 << 10 // of patterns, reasons, and labels in selectors
)

// Share is the part of its namespace's budget that a policy takes.
type Share struct {
	// Name is as in policy.Policy.
	Name    string
	Created time.Time
	bytes   int
}

// ShareOf returns the share of a policy that compiles. Others take none.
func ShareOf(name string, p *v1alpha1.CapsetPolicy) Share {
	s := Share{Name: name, Created: p.CreationTimestamp.Time}
	for key, value := range p.Spec.PodSelector.MatchLabels {
		s.bytes += len(key) + len(value)
	}
	for i := range p.Spec.PodSelector.MatchExpressions {
		r := &p.Spec.PodSelector.MatchExpressions[i]
		s.bytes += len(r.Key)
		for _, value := range r.Values {
			s.bytes += len(value)
		}
	}
	for i := range p.Spec.Exemptions {
		e := &p.Spec.Exemptions[i]
		s.bytes += len(e.Reason)
		for _, pattern := range e.Images {
			s.bytes += len(pattern)
		}
	}
	return s
}

// OverBudget returns the errors of the policies, of one namespace's, that exceed its budget,
// by name. The oldest policies come first, so that a new one does not break those before it.
func OverBudget(shares []Share) map[string]error {
	shares = slices.SortedFunc(slices.Values(shares), func(a, b Share) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	over := map[string]error{}
	bytes := 0
	for i, s := range shares {
		bytes += s.bytes
		const remedy = "; merge or delete policies"
		switch {
		case i >= maxNamespacePolicies:
			over[s.Name] = fmt.Errorf("it is number %d of the namespace's policies by age, the limit is %d"+remedy, i+1, maxNamespacePolicies)
		case bytes > maxNamespaceBytes:
			over[s.Name] = fmt.Errorf("spec: with the namespace's older policies, selectors and exemptions have %d bytes, the limit is %d"+remedy,
				bytes, maxNamespaceBytes)
		}
	}
	return over
}
