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
	required := requiredTerms(spec.Affinity)
	return keep(candidates, func(arch string) bool {
		allows := func(term corev1.NodeSelectorTerm) bool { return termAllows(term, arch, "") }
		return selectorAllows(spec.NodeSelector, arch) && (required == nil || slices.ContainsFunc(required.NodeSelectorTerms, allows))
	})
}

// keep returns the architectures that meet a condition, in a slice of their own.
func keep(architectures []string, condition func(arch string) bool) []string {
	return slices.DeleteFunc(slices.Clone(architectures), func(arch string) bool { return !condition(arch) })
}

func selectorAllows(selector map[string]string, arch string) bool {
	return !slices.ContainsFunc(archLabels[:], func(label string) bool {
		want, ok := selector[label]
		return ok && want != arch
	})
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
	labels := map[string]string{archLabels[0]: arch, archLabels[1]: arch}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
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
