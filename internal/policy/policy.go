// Package policy judges: from policies and reports to a decision.
//
// It is pure and knows no client, registry, logger or clock: the same input gives
// the same decision, byte for byte. It is not for choosing the images to read (see
// judge) or for wording messages (see wording). Policies come validated, from an API
// server or from package policyspec; reports may hold anything that an image's author
// could put there.
package policy

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/capvet/capvet/internal/report"
)

// Policy is a policy object compiled for judging, with all defaults filled in. It is
// shared between requests and must not be modified.
type Policy struct {
	// Name is Kind/name, or Kind/namespace/name for a namespaced policy.
	Name string
	// Namespaces and Pods select by the labels of both.
	Namespaces, Pods labels.Selector
	// Architectures are GOARCH names.
	Architectures []string
	// Action applies to legacy calls, OnUnknown where their ABI is unknown.
	Action, OnUnknown Action
	// OnScanError applies to images that could not be read, by class of error, and
	// ScanErrorDefault to the other classes.
	OnScanError      map[report.FailureClass]Action
	ScanErrorDefault Action
	// Workloads is a workload's action where its Pods would be rejected.
	Workloads Action
	// StartOnly limits the policy to calls at the start of the Pod.
	StartOnly bool
	// AllImages extends it to images without a sign of a known product, AllBinaries
	// to executables of unknown products.
	AllImages, AllBinaries bool
	Exemptions             []Exemption
}

// LabelMetadataName is the label of a namespace that holds its name, set by the API
// server.
const LabelMetadataName = "kubernetes.io/metadata.name"

// Matches reports whether p applies to a Pod with the given labels in a namespace
// with the given labels.
func (p *Policy) Matches(namespace, pod labels.Set) bool {
	return p.Namespaces.Matches(namespace) && p.Pods.Matches(pod)
}

// ForPod returns the policies, of one namespace's, that apply to Pods with these
// labels. The result may be the given slice itself.
func ForPod(policies []Policy, pod labels.Set) []Policy {
	other := func(p Policy) bool { return !p.Pods.Matches(pod) }
	if !slices.ContainsFunc(policies, other) {
		return policies
	}
	return slices.DeleteFunc(slices.Clone(policies), other)
}

// Compare orders policies by name.
func Compare(a, b Policy) int { return cmp.Compare(a.Name, b.Name) }

// Chooses reports whether p selects namespaces by the presence of a label or by this
// value of it.
func (p *Policy) Chooses(label, value string) bool {
	requirements, _ := p.Namespaces.Requirements()
	return slices.ContainsFunc(requirements, func(r labels.Requirement) bool {
		return r.Key() == label && (r.Operator() == selection.Exists || r.Operator() != selection.NotIn && r.Values().Has(value))
	})
}

// Acts reports whether p has any action other than Ignore.
func (p *Policy) Acts() bool {
	for _, action := range p.OnScanError {
		if action != ActionIgnore {
			return true
		}
	}
	return p.Action != ActionIgnore || p.OnUnknown != ActionIgnore || p.ScanErrorDefault != ActionIgnore
}

// Architectures returns the GOARCH names of all policies, sorted.
func Architectures(policies []Policy) []string {
	var all []string
	for i := range policies {
		all = append(all, policies[i].Architectures...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Scope is the part of an image that has to be read.
type Scope struct {
	// AllImages: the image is read without a sign of a known product.
	AllImages bool
	// AllBinaries: every executable is inspected.
	AllBinaries bool
	// Trigger: the time of the calls matters, so the whole image has to be read.
	Trigger bool
}

// Wanted reports whether any policy can act on the image, and the union of the scopes
// of those policies.
func Wanted(now time.Time, policies []Policy, image Image) (Scope, bool) {
	var widest Scope
	wanted := false
	exempting := image.exempting(now, policies)
	for i := range policies {
		p := &policies[i]
		if slices.Contains(p.Architectures, image.Architecture) && exempting[p.Name] == nil && p.Acts() {
			wanted = true
			widest.AllImages = widest.AllImages || p.AllImages
			widest.Trigger = widest.Trigger || p.StartOnly
			widest.AllBinaries = widest.AllBinaries || p.AllBinaries
		}
	}
	return widest, wanted
}

// scanErrorAction returns the action for a class of error.
func (p *Policy) scanErrorAction(class report.FailureClass) Action {
	if action, ok := p.OnScanError[class]; ok {
		return action
	}
	return p.ScanErrorDefault
}
