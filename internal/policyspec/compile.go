// Package policyspec turns policy objects into policies to judge by: it decodes
// them, checks them as an API server would, and compiles them.
//
// It is not for judging. An object that an API server stored is valid already; one
// from a file has to go through Decode and Validate first.
package policyspec

import (
	"cmp"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// CompileCluster compiles a ClusterCapsetPolicy. The error names the field.
func CompileCluster(p *v1alpha1.ClusterCapsetPolicy) (policy.Policy, error) {
	if err := stripped(&p.ObjectMeta); err != nil {
		return policy.Policy{}, err
	}
	compiled, err := compile(&p.Spec.CapsetPolicySpec)
	if err != nil {
		return policy.Policy{}, err
	}
	if err := checkSelector("spec.namespaceSelector", &p.Spec.NamespaceSelector); err != nil {
		return policy.Policy{}, err
	}
	compiled.Name = "ClusterCapsetPolicy/" + p.Name
	compiled.Namespaces, err = metav1.LabelSelectorAsSelector(p.Spec.NamespaceSelector.Selector())
	if err != nil {
		return policy.Policy{}, fmt.Errorf("spec.namespaceSelector: %w", err)
	}
	return compiled, nil
}

// CompileNamespaced compiles a CapsetPolicy. The error names the field.
func CompileNamespaced(p *v1alpha1.CapsetPolicy) (policy.Policy, error) {
	if err := stripped(&p.ObjectMeta); err != nil {
		return policy.Policy{}, err
	}
	compiled, err := compile(&p.Spec)
	if err != nil {
		return policy.Policy{}, err
	}
	compiled.Name = "CapsetPolicy/" + p.Namespace + "/" + p.Name
	compiled.Namespaces = labels.SelectorFromSet(labels.Set{policy.LabelMetadataName: p.Namespace})
	return compiled, nil
}

func compile(spec *v1alpha1.CapsetPolicySpec) (policy.Policy, error) {
	if err := checkBounds(spec); err != nil {
		return policy.Policy{}, err
	}
	pods, err := metav1.LabelSelectorAsSelector(spec.PodSelector.Selector())
	if err != nil {
		return policy.Policy{}, fmt.Errorf("spec.podSelector: %w", err)
	}
	compiled := policy.Policy{
		Pods:        pods,
		Action:      policy.Action(cmp.Or(spec.Action, v1alpha1.ActionWarn)),
		OnUnknown:   policy.Action(cmp.Or(spec.OnUnknown, v1alpha1.ActionWarn)),
		Workloads:   policy.Action(cmp.Or(spec.Workloads, v1alpha1.WorkloadWarn)),
		StartOnly:   spec.Trigger == v1alpha1.TriggerStart,
		AllImages:   spec.Images == v1alpha1.ImagesAll,
		AllBinaries: spec.Binaries == v1alpha1.BinariesAll,
	}
	compiled.ScanErrorDefault = policy.Action(cmp.Or(spec.OnScanError.Default, v1alpha1.ActionWarn))
	compiled.OnScanError = byClass(spec.OnScanError)
	for _, arch := range spec.Architectures {
		compiled.Architectures = append(compiled.Architectures, string(arch))
	}
	if len(compiled.Architectures) == 0 {
		compiled.Architectures = []string{"arm64"}
	}
	for i := range spec.Exemptions {
		compiled.Exemptions = append(compiled.Exemptions, compileExemption(&spec.Exemptions[i]))
	}
	return compiled, nil
}

// byClass returns the actions of the classes that are set. The JSON name of a field
// is the class.
func byClass(actions v1alpha1.ScanErrorActions) map[report.FailureClass]policy.Action {
	actions.Default = ""
	set := make(map[report.FailureClass]policy.Action)
	encoded, err := json.Marshal(actions)
	if err == nil {
		err = json.Unmarshal(encoded, &set)
	}
	if err != nil {
		panic(err) // a struct of strings always encodes
	}
	return set
}

func compileExemption(e *v1alpha1.Exemption) policy.Exemption {
	compiled := policy.Exemption{Images: e.Images, Reason: e.Reason}
	if e.Expires != nil {
		compiled.Expires = e.Expires.Time
	}
	return compiled
}
