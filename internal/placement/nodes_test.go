package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

func node(name, arch string, taints ...corev1.Taint) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}}, Spec: corev1.NodeSpec{Taints: taints}}
	if arch != "" {
		n.Labels["kubernetes.io/arch"], n.Labels["beta.kubernetes.io/arch"] = arch, arch
	}
	return n
}

func taint(key string, effect corev1.TaintEffect) corev1.Taint {
	return corev1.Taint{Key: key, Value: "v", Effect: effect}
}

func TestNodes(t *testing.T) {
	both := []string{"amd64", "arm64"}
	amd, arm := node("amd-1", "amd64"), node("arm-1", "arm64")
	tainted := node("arm-1", "arm64", taint("dedicated", corev1.TaintEffectNoSchedule))
	unlabelled := node("old-1", "")
	fromStatus := node("old-2", "")
	fromStatus.Status.NodeInfo.Architecture = "arm64"
	pinned := func(names ...string) corev1.PodSpec {
		return corev1.PodSpec{Affinity: affinity(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{requirement("metadata.name", corev1.NodeSelectorOpIn, names...)}})}
	}
	for _, tt := range []struct {
		name   string
		nodes  []*corev1.Node
		always []string
		spec   corev1.PodSpec
		want   []string
	}{
		{"no nodes are known", nil, nil, corev1.PodSpec{}, both},
		{"no nodes are known, and the spec tells", nil, nil, corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"}}, []string{"arm64"}},
		{"one architecture", []*corev1.Node{amd}, nil, corev1.PodSpec{}, []string{"amd64"}},
		{"a pool scaled to zero", []*corev1.Node{amd}, []string{"arm64"}, corev1.PodSpec{}, both},
		{"a pool scaled to zero that the Pod avoids", []*corev1.Node{amd}, []string{"arm64"}, corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/arch": "amd64"}}, []string{"amd64"}},
		{"both", []*corev1.Node{amd, arm}, nil, corev1.PodSpec{}, both},
		{"a label of some nodes", []*corev1.Node{amd, arm}, nil, corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/hostname": "arm-1"}}, []string{"arm64"}},
		{"no node meets the selector", []*corev1.Node{amd, arm}, nil, corev1.PodSpec{NodeSelector: map[string]string{"disk": "ssd"}}, []string{}},
		{"tainted", []*corev1.Node{amd, tainted}, nil, corev1.PodSpec{}, []string{"amd64"}},
		{"tolerated", []*corev1.Node{amd, tainted}, nil, corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}}, both},
		{"preferred elsewhere", []*corev1.Node{node("arm-1", "arm64", taint("x", corev1.TaintEffectPreferNoSchedule))}, nil, corev1.PodSpec{}, []string{"arm64"}},
		{"executes nothing", []*corev1.Node{node("arm-1", "arm64", taint("x", corev1.TaintEffectNoExecute))}, nil, corev1.PodSpec{}, []string{}},
		{"not ready for a while", []*corev1.Node{node("arm-1", "arm64", taint("node.kubernetes.io/not-ready", corev1.TaintEffectNoExecute))}, nil, corev1.PodSpec{}, []string{"arm64"}},
		{"bound", []*corev1.Node{amd, tainted}, nil, corev1.PodSpec{NodeName: "arm-1"}, []string{"arm64"}},
		{"bound to a node that is not known", []*corev1.Node{amd}, nil, corev1.PodSpec{NodeName: "arm-9"}, both},
		{"bound to an architecture of no interest", []*corev1.Node{node("z", "s390x")}, nil, corev1.PodSpec{NodeName: "z"}, []string{}},
		{"pinned", []*corev1.Node{amd, arm}, nil, pinned("arm-1"), []string{"arm64"}},
		{"pinned to several", []*corev1.Node{amd, arm}, nil, pinned("arm-1", "amd-1"), both},
		{"pinned to a node that is not known", []*corev1.Node{amd}, nil, pinned("arm-9"), both},
		{"pinned to a tainted node", []*corev1.Node{amd, tainted}, nil, pinned("arm-1"), []string{}},
		{"a node that does not tell", []*corev1.Node{unlabelled}, nil, corev1.PodSpec{}, both},
		{"a node that tells in its status", []*corev1.Node{fromStatus}, nil, corev1.PodSpec{}, []string{"arm64"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nodes := NewNodes(tt.always...)
			for _, n := range tt.nodes {
				nodes.Set(Strip(n))
			}
			if diff := cmp.Diff(tt.want, nodes.Architectures(&tt.spec, both)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNodesAgainstScheduler compares with the scheduler's own answers, node by
// node, while random nodes come, change and go.
func TestNodesAgainstScheduler(t *testing.T) {
	candidates := []string{"amd64", "arm64", "riscv64"}
	decided := map[int]int{} // by how many architectures were possible
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		nodes, live := NewNodes(), map[string]*corev1.Node{}
		for range 40 {
			name := "node-" + strconv.Itoa(random.IntN(12))
			if random.IntN(5) == 0 {
				nodes.Remove(name)
				delete(live, name)
				continue
			}
			n := randomNode(random, name)
			nodes.Set(n)
			live[name] = n
		}
		if len(live) == 0 {
			continue
		}
		for range 20 {
			spec := randomSpec(random)
			// A node that is not known may be about to come; the scheduler waits.
			if names, _ := pinnedTo(spec.Affinity); slices.ContainsFunc(names, func(name string) bool { return live[name] == nil }) {
				continue
			}
			want := []string{}
			for _, arch := range candidates {
				for _, n := range live {
					if n.Labels["kubernetes.io/arch"] == arch && schedulable(t, &spec, n) {
						want = append(want, arch)
						break
					}
				}
			}
			decided[len(want)]++
			if diff := cmp.Diff(want, nodes.Architectures(&spec, candidates)); diff != "" {
				t.Fatalf("seed %d: %+v (-want +got):\n%s", seed, spec, diff)
			}
		}
	}
	for n := range len(candidates) + 1 {
		if decided[n] < 100 {
			t.Errorf("only %d Pods could land on %d architectures: the test says little", decided[n], n)
		}
	}
}

// TestSpecAgainstScheduler: what a spec alone tells rules out no architecture with
// a node on which the scheduler would put the Pod.
func TestSpecAgainstScheduler(t *testing.T) {
	ruledOut, landed := 0, 0
	for seed := range uint64(20_000) {
		random := rand.New(rand.NewPCG(seed, 2))
		spec, n := randomSpec(random), randomNode(random, fmt.Sprintf("node-%d", random.IntN(12)))
		n.Labels["beta.kubernetes.io/arch"] = n.Labels["kubernetes.io/arch"] // as a kubelet sets it
		possible := Architectures(&spec, []string{n.Labels["kubernetes.io/arch"]})
		switch lands := schedulable(t, &spec, n); {
		case lands && len(possible) == 0:
			t.Fatalf("seed %d: %+v lands on %+v, and is said not to", seed, spec, n)
		case lands:
			landed++
		case len(possible) == 0:
			ruledOut++
		}
	}
	if landed < 1000 || ruledOut < 1000 {
		t.Errorf("%d landed, %d were ruled out: the test says little", landed, ruledOut)
	}
}

// schedulable asks the scheduler's own functions about one Pod and one node.
func schedulable(t *testing.T, spec *corev1.PodSpec, n *corev1.Node) bool {
	matched, err := nodeaffinity.GetRequiredNodeAffinity(&corev1.Pod{Spec: *spec}).Match(n)
	if err != nil {
		t.Fatal(err)
	}
	_, untolerated := corev1helpers.FindMatchingUntoleratedTaint(logr.Discard(), n.Spec.Taints, spec.Tolerations, func(taint *corev1.Taint) bool {
		return taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute
	}, true)
	return matched && !untolerated
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }

func randomNode(random *rand.Rand, name string) *corev1.Node {
	n := node(name, pick(random, "amd64", "arm64", "riscv64"))
	for _, label := range []string{"zone", "disk"} {
		if random.IntN(2) == 0 {
			n.Labels[label] = pick(random, "a", "b")
		}
	}
	if random.IntN(2) == 0 {
		n.Labels["cores"] = strconv.Itoa(random.IntN(10))
	}
	for _, key := range []string{"dedicated", "gpu"} {
		if random.IntN(4) == 0 {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: pick(random, "x", "y"),
				Effect: pick(random, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute, corev1.TaintEffectPreferNoSchedule)})
		}
	}
	return n
}

func randomSpec(random *rand.Rand) corev1.PodSpec {
	var spec corev1.PodSpec
	if random.IntN(4) == 0 {
		spec.NodeSelector = map[string]string{pick(random, "zone", "disk", "kubernetes.io/arch", "beta.kubernetes.io/arch"): pick(random, "a", "b", "arm64", "amd64")}
	}
	for range random.IntN(3) {
		spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
			Key: pick(random, "dedicated", "gpu"), Operator: pick(random, corev1.TolerationOpExists, corev1.TolerationOpEqual),
			Value: "", Effect: pick(random, "", corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute),
		})
		if last := &spec.Tolerations[len(spec.Tolerations)-1]; last.Operator == corev1.TolerationOpEqual {
			last.Value = pick(random, "x", "y")
		}
	}
	if random.IntN(2) == 0 {
		return spec
	}
	var terms []corev1.NodeSelectorTerm
	for range random.IntN(3) + 1 {
		var term corev1.NodeSelectorTerm
		for range random.IntN(3) {
			term.MatchExpressions = append(term.MatchExpressions, randomRequirement(random))
		}
		if random.IntN(3) == 0 {
			term.MatchFields = append(term.MatchFields, requirement("metadata.name",
				pick(random, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn), fmt.Sprintf("node-%d", random.IntN(12))))
		}
		terms = append(terms, term)
	}
	spec.Affinity = affinity(terms...)
	return spec
}

func randomRequirement(random *rand.Rand) corev1.NodeSelectorRequirement {
	switch random.IntN(4) {
	case 0:
		return requirement("cores", pick(random, corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt), strconv.Itoa(random.IntN(10)))
	case 1:
		return requirement(pick(random, "zone", "disk", "cores"), pick(random, corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist))
	case 2:
		return requirement(pick(random, "kubernetes.io/arch", "beta.kubernetes.io/arch"), pick(random, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn), pick(random, "arm64", "amd64"), "riscv64")
	}
	return requirement(pick(random, "zone", "disk"), pick(random, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn), pick(random, "a", "b"))
}

// pools of 5,000 nodes, as the largest clusters have.
func largeCluster() *Nodes {
	nodes := NewNodes()
	for i := range 5000 {
		n := node(fmt.Sprintf("node-%d", i), []string{"amd64", "arm64"}[i%2])
		n.Labels["topology.kubernetes.io/zone"] = fmt.Sprintf("zone-%d", i%3)
		if i%10 == 0 {
			n.Spec.Taints = []corev1.Taint{taint("dedicated", corev1.TaintEffectNoSchedule)}
		}
		nodes.Set(n)
	}
	return nodes
}

func BenchmarkNodes(b *testing.B) {
	nodes := largeCluster()
	pinned := corev1.PodSpec{Affinity: affinity(corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{requirement("metadata.name", corev1.NodeSelectorOpIn, "node-3")}})}
	for name, spec := range map[string]corev1.PodSpec{
		"open": {}, "daemon": pinned,
		"zone":    {NodeSelector: map[string]string{"topology.kubernetes.io/zone": "zone-1"}},
		"nowhere": {NodeSelector: map[string]string{"disk": "ssd"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := nodes.Architectures(&spec, []string{"arm64"}); slices.Contains(got, "amd64") {
					b.Fatal(got)
				}
			}
		})
	}
}
