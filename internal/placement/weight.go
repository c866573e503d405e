package placement

import corev1 "k8s.io/api/core/v1"

// weight returns the number of comparisons that one node may take: of its labels with each value
// that the Pod's affinity requires, and of its taints with each toleration. Its node selector
// does not count: it ends at the first label that the node does not have.
func weight(spec *corev1.PodSpec) int {
	count := 1 + len(spec.Tolerations)
	if required := requiredTerms(spec.Affinity); required != nil {
		for _, term := range required.NodeSelectorTerms {
			count++
			for _, requirements := range [][]corev1.NodeSelectorRequirement{term.MatchExpressions, term.MatchFields} {
				for _, requirement := range requirements {
					count += 1 + len(requirement.Values)
				}
			}
		}
	}
	return count
}
