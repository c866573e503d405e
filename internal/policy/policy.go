// Package policy judges: from policies and reports to a decision.
//
// It is pure. It knows no client, registry, logger or clock: whatever it needs
// is handed in, and the same input gives the same decision, byte for byte. It
// is not for choosing what to read or for wording messages. Policies are those
// that an API server validated; reports may hold anything an image's author
// could put there.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/report"
)

// Policy is a policy object made ready for judging.
type Policy struct {
	// Name is Kind/name, or Kind/namespace/name for one of a namespace.
	Name string

	namespaces    labels.Selector
	pods          labels.Selector
	architectures []string
	action        v1alpha1.Action
	onUnknown     v1alpha1.Action
	onScanError   v1alpha1.ScanErrorActions
	workloads     v1alpha1.WorkloadAction
	trigger       v1alpha1.Trigger
	images        v1alpha1.ImageSelection
	binaries      v1alpha1.BinarySelection
	exemptions    []exemption
	acts          bool // see Acts
}

// CompileCluster makes a ClusterCapsetPolicy ready. The error names the field.
func CompileCluster(p *v1alpha1.ClusterCapsetPolicy) (Policy, error) {
	compiled, err := compile(&p.Spec.CapsetPolicySpec)
	if err != nil {
		return Policy{}, err
	}
	compiled.Name = "ClusterCapsetPolicy/" + p.Name
	compiled.namespaces, err = metav1.LabelSelectorAsSelector(p.Spec.NamespaceSelector.Selector())
	if err != nil {
		return Policy{}, fmt.Errorf("spec.namespaceSelector: %w", err)
	}
	return compiled, nil
}

// CompileNamespaced makes a CapsetPolicy ready. The error names the field.
func CompileNamespaced(p *v1alpha1.CapsetPolicy) (Policy, error) {
	compiled, err := compile(&p.Spec)
	if err != nil {
		return Policy{}, err
	}
	compiled.Name = "CapsetPolicy/" + p.Namespace + "/" + p.Name
	compiled.namespaces = labels.SelectorFromSet(labels.Set{LabelMetadataName: p.Namespace})
	return compiled, nil
}

// LabelMetadataName is the label that the API server keeps on each namespace.
const LabelMetadataName = "kubernetes.io/metadata.name"

func compile(spec *v1alpha1.CapsetPolicySpec) (Policy, error) {
	pods, err := metav1.LabelSelectorAsSelector(spec.PodSelector.Selector())
	if err != nil {
		return Policy{}, fmt.Errorf("spec.podSelector: %w", err)
	}
	compiled := Policy{
		pods:        pods,
		action:      orDefault(spec.Action, v1alpha1.ActionWarn),
		onUnknown:   orDefault(spec.OnUnknown, v1alpha1.ActionWarn),
		onScanError: spec.OnScanError,
		workloads:   spec.Workloads,
		trigger:     spec.Trigger,
		images:      spec.Images,
		binaries:    spec.Binaries,
	}
	compiled.onScanError.Default = orDefault(spec.OnScanError.Default, v1alpha1.ActionWarn)
	for _, arch := range spec.Architectures {
		compiled.architectures = append(compiled.architectures, string(arch))
	}
	if len(compiled.architectures) == 0 {
		compiled.architectures = []string{"arm64"}
	}
	for i := range spec.Exemptions {
		compiled.exemptions = append(compiled.exemptions, compileExemption(&spec.Exemptions[i]))
	}
	compiled.acts = compiled.canAct()
	return compiled, nil
}

// onWorkload returns what a workload gets whose Pods get action.
func (p *Policy) onWorkload(action v1alpha1.Action) v1alpha1.Action {
	if action != v1alpha1.ActionReject {
		return action
	}
	switch p.workloads {
	case v1alpha1.WorkloadIgnore:
		return v1alpha1.ActionIgnore
	case v1alpha1.WorkloadReject:
		return v1alpha1.ActionReject
	}
	return v1alpha1.ActionWarn
}

func orDefault(action, otherwise v1alpha1.Action) v1alpha1.Action {
	if action == "" {
		return otherwise
	}
	return action
}

// Matches reports whether p holds for a Pod with the given labels in a
// namespace with the given labels. The namespace's name is read from its label
// kubernetes.io/metadata.name.
func (p *Policy) Matches(namespace, pod labels.Set) bool {
	return p.namespaces.Matches(namespace) && p.pods.Matches(pod)
}

// MatchesNamespace reports whether p holds in a namespace with these labels, for
// some Pods at least.
func (p *Policy) MatchesNamespace(namespace labels.Set) bool { return p.namespaces.Matches(namespace) }

// ForPod returns those of policies, which hold in a namespace, that are about Pods
// with these labels. The result may be policies itself.
func ForPod(policies []Policy, pod labels.Set) []Policy {
	other := func(p Policy) bool { return !p.pods.Matches(pod) }
	if !slices.ContainsFunc(policies, other) {
		return policies
	}
	return slices.DeleteFunc(slices.Clone(policies), other)
}

// Compare orders policies by name.
func Compare(a, b Policy) int { return cmp.Compare(a.Name, b.Name) }

// Chooses reports whether p selects namespaces by a label that has a value, or by
// its being there, rather than by what it is not.
func (p *Policy) Chooses(label, value string) bool {
	requirements, _ := p.namespaces.Requirements()
	return slices.ContainsFunc(requirements, func(r labels.Requirement) bool {
		return r.Key() == label && (r.Operator() == selection.Exists || r.Operator() != selection.NotIn && r.Values().Has(value))
	})
}

// Acts reports whether p can come to anything but Ignore.
func (p *Policy) Acts() bool { return p.acts }

func (p *Policy) canAct() bool {
	strictest := v1alpha1.Stricter(p.action, p.onUnknown)
	strictest = v1alpha1.Stricter(strictest, p.onScanError.Default)
	for _, class := range report.FailureClasses() {
		strictest = v1alpha1.Stricter(strictest, p.scanErrorAction(class))
	}
	return strictest != v1alpha1.ActionIgnore
}

// Architectures returns the GOARCH names that policies are about, sorted.
func Architectures(policies []Policy) []string {
	var all []string
	for i := range policies {
		all = append(all, policies[i].architectures...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Scope is how much of an image is to be read.
type Scope struct {
	// AllImages has the image read even if nothing hints at a known product.
	AllImages bool
	// AllBinaries has every executable of it looked at.
	AllBinaries bool
	// Trigger says that it matters when calls run, which the whole image may
	// decide: an answer before all of it is read will not do.
	Trigger bool
}

// Wanted reports whether some policy can come to anything but Ignore about the
// image, so that it is worth reading, and the widest scope that one of those
// has.
func Wanted(now time.Time, policies []Policy, image Image) (Scope, bool) {
	var widest Scope
	wanted := false
	for i := range policies {
		if p := &policies[i]; p.wants(now, image) {
			wanted = true
			widest.AllImages = widest.AllImages || p.images == v1alpha1.ImagesAll
			widest.Trigger = widest.Trigger || p.trigger == v1alpha1.TriggerStart
			widest.AllBinaries = widest.AllBinaries || p.binaries == v1alpha1.BinariesAll
		}
	}
	return widest, wanted
}

func (p *Policy) wants(now time.Time, image Image) bool {
	if !slices.Contains(p.architectures, image.Architecture) {
		return false
	}
	if _, exempt := p.exempts(now, image.Name); exempt {
		return false
	}
	return p.acts
}

// scanErrorAction returns the action for a class, the default's for a class
// that the policy does not name or that no policy can name.
func (p *Policy) scanErrorAction(class report.FailureClass) v1alpha1.Action {
	var action v1alpha1.Action
	switch class {
	case report.FailureTimeout:
		action = p.onScanError.Timeout
	case report.FailureUnauthorized:
		action = p.onScanError.Unauthorized
	case report.FailureNotFound:
		action = p.onScanError.NotFound
	case report.FailureRateLimited:
		action = p.onScanError.RateLimited
	case report.FailureTooLarge:
		action = p.onScanError.TooLarge
	case report.FailureMalformed:
		action = p.onScanError.Malformed
	case report.FailureBlocked:
		action = p.onScanError.Blocked
	case report.FailureRegistry:
		action = p.onScanError.Registry
	}
	return orDefault(action, p.onScanError.Default)
}
