// Package placement says on which node architectures a Pod can land.
//
// It asks the scheduler's own matchers about what the Pod requires, of the live
// nodes where they are known. It is no scheduler: resources, volumes and other
// Pods are not looked at, and whatever is unknown counts as possible. Pods and
// nodes are any that an API server validated.
package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// archLabels are the node labels that hold the architecture. A kubelet sets
// both to the same value; the second is deprecated.
var archLabels = [...]string{corev1.LabelArchStable, "beta.kubernetes.io/arch"}

// Architectures returns those of candidates (GOARCH names), in their order, on
// which a Pod with this spec can land, as far as the spec alone tells.
func Architectures(spec *corev1.PodSpec, candidates []string) []string {
	possible := make([]string, 0, len(candidates))
	for _, arch := range candidates {
		if specAllows(spec, arch) {
			possible = append(possible, arch)
		}
	}
	return possible
}

func specAllows(spec *corev1.PodSpec, arch string) bool {
	return selectorAllows(spec.NodeSelector, arch) && affinityAllows(spec.Affinity, arch)
}

func selectorAllows(selector map[string]string, arch string) bool {
	for _, label := range archLabels {
		if want, ok := selector[label]; ok && want != arch {
			return false
		}
	}
	return true
}

// affinityAllows asks the scheduler's own matcher about a node of which only
// the architecture is known. Requirements on anything else are left out first:
// some node may meet them.
func affinityAllows(affinity *corev1.Affinity, arch string) bool {
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	var onArch corev1.NodeSelector
	for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(term.MatchExpressions) == 0 && len(term.MatchFields) == 0 {
			continue // an empty term matches no node
		}
		var kept []corev1.NodeSelectorRequirement
		for _, requirement := range term.MatchExpressions {
			if slices.Contains(archLabels[:], requirement.Key) {
				kept = append(kept, requirement)
			}
		}
		if len(kept) == 0 {
			return true // terms are ORed, and this one leaves the architecture open
		}
		onArch.NodeSelectorTerms = append(onArch.NodeSelectorTerms, corev1.NodeSelectorTerm{MatchExpressions: kept})
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}}}
	for _, label := range archLabels {
		node.Labels[label] = arch
	}
	matcher, err := nodeaffinity.NewNodeSelector(&onArch)
	if err != nil {
		return true // what cannot be understood rules nothing out
	}
	return matcher.Match(node)
}
