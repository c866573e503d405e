// Package placement determines the node architectures on which a Pod can land.
//
// It applies the scheduler's own matchers to the Pod's requirements, with the live
// nodes if they are known. It is not a scheduler: it ignores resources, volumes
// and other Pods, and an unknown fact never rules out an architecture. Pods and
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

// Architectures returns the candidates (GOARCH names, in the same order) on which a
// Pod can land according to its spec alone.
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
	if !selectorAllows(spec.NodeSelector, arch) {
		return false
	}
	required := requiredTerms(spec.Affinity)
	return required == nil || slices.ContainsFunc(required.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return termAllows(term, arch, "")
	})
}

func selectorAllows(selector map[string]string, arch string) bool {
	for _, label := range archLabels {
		if want, ok := selector[label]; ok && want != arch {
			return false
		}
	}
	return true
}

// termAllows applies the scheduler's matcher to a node with this architecture and
// name; an empty name means any name. Requirements on other labels are removed
// first, since some node may meet them.
func termAllows(term corev1.NodeSelectorTerm, arch, name string) bool {
	if len(term.MatchExpressions) == 0 && len(term.MatchFields) == 0 {
		return false // an empty term matches no node
	}
	kept := corev1.NodeSelectorTerm{MatchFields: term.MatchFields}
	for _, requirement := range term.MatchExpressions {
		if slices.Contains(archLabels[:], requirement.Key) {
			kept.MatchExpressions = append(kept.MatchExpressions, requirement)
		}
	}
	if len(kept.MatchExpressions) == 0 && len(kept.MatchFields) == 0 {
		return true
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for _, label := range archLabels {
		node.Labels[label] = arch
	}
	selector := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{kept}}
	// As in the scheduler, a term that cannot be parsed matches no node.
	matched, _ := nodeaffinity.NewLazyErrorNodeSelector(selector).Match(node)
	return matched
}

func requiredTerms(affinity *corev1.Affinity) *corev1.NodeSelector {
	if affinity == nil || affinity.NodeAffinity == nil {
		return nil
	}
	return affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}
