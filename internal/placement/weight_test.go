package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// heavy are specs with n of each element that is compared with every node, none of which leads to
// a node.
func heavy(n int) map[string]*corev1.PodSpec {
	terms := func(all ...corev1.NodeSelectorTerm) *corev1.PodSpec {
		return &corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: all}}}}
	}
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprint("zone-x", i)
	}
	exists := requirement("zone", corev1.NodeSelectorOpExists)
	never := requirement("zone", corev1.NodeSelectorOpDoesNotExist)
	return map[string]*corev1.PodSpec{
		"terms":        terms(slices.Repeat([]corev1.NodeSelectorTerm{term(never)}, n)...),
		"requirements": terms(term(append(slices.Repeat([]corev1.NodeSelectorRequirement{exists}, n), never)...)),
		"values":       terms(term(requirement("zone", corev1.NodeSelectorOpIn, values...))),
		"tolerations":  {Tolerations: slices.Repeat([]corev1.Toleration{{Key: "other", Operator: corev1.TolerationOpExists}}, n)},
	}
}

// TestWeight: the requirements of a Pod are compared with the nodes while that is little work;
// beyond it, the nodes rule out nothing. The weight grows as the Pod does.
func TestWeight(t *testing.T) {
	nodes := NewNodes()
	const count = 100
	for i := range count {
		n := node(fmt.Sprint("node-", i), "arm64", taint("dedicated", corev1.TaintEffectNoSchedule))
		n.Labels["zone"] = "zone-1"
		nodes.Set(n)
	}
	candidates := []string{"amd64", "arm64"}
	const beyond = maxMatches / count
	light, bounded, twice := heavy(beyond/4), heavy(beyond), heavy(2*beyond)
	for name := range light {
		if got := nodes.Architectures(light[name], candidates); len(got) > 0 {
			t.Errorf("%d %s: lands on %v", beyond/4, name, got)
		}
		if diff := cmp.Diff(candidates, nodes.Architectures(bounded[name], candidates)); diff != "" {
			t.Errorf("%d %s (-want +got):\n%s", beyond, name, diff)
		}
		if small, large := weight(bounded[name]), weight(twice[name]); large < 2*beyond || large > 2*small {
			t.Errorf("%s weigh %d, and twice as many %d", name, small, large)
		}
	}
}

func BenchmarkHeavy(b *testing.B) {
	nodes := largeCluster()
	for name, spec := range heavy(maxMatches/5000/2 - 2) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				nodes.Architectures(spec, []string{"amd64", "arm64"})
			}
		})
	}
	for name, spec := range heavy(25_000) {
		b.Run("beyond/"+name, func(b *testing.B) {
			for b.Loop() {
				nodes.Architectures(spec, []string{"amd64", "arm64"})
			}
		})
	}
}
