package placement

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func requirement(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorRequirement {
	return corev1.NodeSelectorRequirement{Key: key, Operator: op, Values: values}
}

func term(requirements ...corev1.NodeSelectorRequirement) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: requirements}
}

func affinity(terms ...corev1.NodeSelectorTerm) *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
	}}
}

// nodeNamed is a term on a node's name alone.
func nodeNamed(op corev1.NodeSelectorOperator, name string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{requirement("metadata.name", op, name)}}
}

// all is a term with what several ask for.
func all(terms ...corev1.NodeSelectorTerm) (one corev1.NodeSelectorTerm) {
	for _, term := range terms {
		one.MatchExpressions = append(one.MatchExpressions, term.MatchExpressions...)
		one.MatchFields = append(one.MatchFields, term.MatchFields...)
	}
	return one
}

// on is a Pod that requires one of these terms.
func on(terms ...corev1.NodeSelectorTerm) corev1.PodSpec {
	return corev1.PodSpec{Affinity: affinity(terms...)}
}

func TestArchitectures(t *testing.T) {
	const arch, beta = "kubernetes.io/arch", "beta.kubernetes.io/arch"
	both := []string{"amd64", "arm64"}
	tests := []struct {
		name string
		spec corev1.PodSpec
		want []string
	}{
		{"nothing said", corev1.PodSpec{}, both},
		{"nodeSelector", corev1.PodSpec{NodeSelector: map[string]string{arch: "amd64"}}, []string{"amd64"}},
		{"old label", corev1.PodSpec{NodeSelector: map[string]string{beta: "arm64"}}, []string{"arm64"}},
		{"other label", corev1.PodSpec{NodeSelector: map[string]string{"disk": "ssd"}}, both},
		{"contradiction", corev1.PodSpec{NodeSelector: map[string]string{arch: "arm64", beta: "amd64"}}, []string{}},
		{"In", corev1.PodSpec{Affinity: affinity(term(requirement(arch, corev1.NodeSelectorOpIn, "arm64", "s390x")))}, []string{"arm64"}},
		{"NotIn", corev1.PodSpec{Affinity: affinity(term(requirement(arch, corev1.NodeSelectorOpNotIn, "arm64")))}, []string{"amd64"}},
		{"Exists", corev1.PodSpec{Affinity: affinity(term(requirement(arch, corev1.NodeSelectorOpExists)))}, both},
		{"DoesNotExist", corev1.PodSpec{Affinity: affinity(term(requirement(arch, corev1.NodeSelectorOpDoesNotExist)))}, []string{}},
		{"terms are ORed", corev1.PodSpec{Affinity: affinity(
			term(requirement(arch, corev1.NodeSelectorOpIn, "s390x")),
			term(requirement(arch, corev1.NodeSelectorOpIn, "arm64"), requirement("disk", corev1.NodeSelectorOpIn, "ssd")),
		)}, []string{"arm64"}},
		{"one term leaves it open", corev1.PodSpec{Affinity: affinity(
			term(requirement(arch, corev1.NodeSelectorOpIn, "arm64")),
			term(requirement("disk", corev1.NodeSelectorOpIn, "ssd")),
		)}, both},
		{"an empty term matches nothing", corev1.PodSpec{Affinity: affinity(term())}, []string{}},
		{"nodeSelector and affinity are ANDed", corev1.PodSpec{
			NodeSelector: map[string]string{arch: "amd64"},
			Affinity:     affinity(term(requirement(arch, corev1.NodeSelectorOpIn, "arm64"))),
		}, []string{}},
		{"no terms match nothing", on(), []string{}},
		{"In matchFields leaves it open", on(nodeNamed(corev1.NodeSelectorOpIn, "node-1")), both},
		{"NotIn matchFields leaves it open", on(nodeNamed(corev1.NodeSelectorOpNotIn, "node-1")), both},
		{"a term that cannot be parsed matches nothing", on(term(requirement(arch, corev1.NodeSelectorOpGt, "amd64"))), []string{}},
		{"one of two terms cannot be parsed", on(
			term(requirement(arch, corev1.NodeSelectorOpGt, "amd64")),
			term(requirement(arch, corev1.NodeSelectorOpIn, "arm64")),
		), []string{"arm64"}},
		{"preferred affinity rules nothing out", corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
				{Weight: 1, Preference: term(requirement(arch, corev1.NodeSelectorOpIn, "amd64"))},
			},
		}}}, both},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Architectures(&tt.spec, both)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
