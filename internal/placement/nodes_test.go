package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/capvet/capvet/test/scheduler"
)

func node(name, arch string, taints ...corev1.Taint) *corev1.Node {
	n := &corev1.Node{Spec: corev1.NodeSpec{Taints: taints}}
	n.Name, n.Labels = name, map[string]string{"kubernetes.io/hostname": name}
	if arch != "" {
		n.Labels["kubernetes.io/arch"], n.Labels["beta.kubernetes.io/arch"] = arch, arch
	}
	return n
}

func taint(key string, effect corev1.TaintEffect) corev1.Taint {
	return corev1.Taint{Key: key, Value: "v", Effect: effect}
}

func TestNodes(t *testing.T) {
	const in, notIn = corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn
	const noSchedule, noExecute = corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute
	const preferNoSchedule = corev1.TaintEffectPreferNoSchedule
	selecting := func(label, value string) corev1.PodSpec {
		return corev1.PodSpec{NodeSelector: map[string]string{label: value}}
	}
	tolerating := func(toleration corev1.Toleration) corev1.PodSpec {
		return corev1.PodSpec{Tolerations: []corev1.Toleration{toleration}}
	}
	both := []string{"amd64", "arm64"}
	amd, arm := node("amd-1", "amd64"), node("arm-1", "arm64")
	tainted := node("arm-1", "arm64", taint("dedicated", corev1.TaintEffectNoSchedule))
	notReady := node("arm-1", "arm64", taint("node.kubernetes.io/not-ready", noExecute))
	unlabelled := node("old-1", "")
	fromStatus := node("old-2", "")
	fromStatus.Status.NodeInfo.Architecture = "arm64"
	dedicated := func(name, to string, effect corev1.TaintEffect) *corev1.Node {
		return node(name, "arm64", corev1.Taint{Key: "dedicated", Value: to, Effect: effect})
	}
	numbered := node("arm-1", "arm64", corev1.Taint{Key: "level", Value: "5", Effect: corev1.TaintEffectNoSchedule})
	ssd, manyCores := term(requirement("disk", in, "ssd")), term(requirement("cores", corev1.NodeSelectorOpGt, "many"))
	arch := func(name string) corev1.NodeSelectorTerm { return term(requirement("kubernetes.io/arch", in, name)) }
	level := func(op corev1.TolerationOperator, value string) corev1.PodSpec {
		return corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "level", Operator: op, Value: value}}}
	}
	for _, tt := range []struct {
		name   string
		nodes  []*corev1.Node
		always []string
		spec   corev1.PodSpec
		want   []string
	}{
		{"no nodes are known", nil, nil, corev1.PodSpec{}, both},
		{"no nodes are known, and the spec tells", nil, nil, selecting("kubernetes.io/arch", "arm64"), []string{"arm64"}},
		{"one architecture", []*corev1.Node{amd}, nil, corev1.PodSpec{}, []string{"amd64"}},
		{"a pool scaled to zero", []*corev1.Node{amd}, []string{"arm64"}, corev1.PodSpec{}, both},
		{"a pool scaled to zero that the Pod avoids", []*corev1.Node{amd}, []string{"arm64"},
			selecting("kubernetes.io/arch", "amd64"), []string{"amd64"}},
		{"both", []*corev1.Node{amd, arm}, nil, corev1.PodSpec{}, both},
		{"a label of some nodes", []*corev1.Node{amd, arm}, nil, selecting("kubernetes.io/hostname", "arm-1"), []string{"arm64"}},
		{"no node meets the selector", []*corev1.Node{amd, arm}, nil, selecting("disk", "ssd"), []string{}},
		{"tainted", []*corev1.Node{amd, tainted}, nil, corev1.PodSpec{}, []string{"amd64"}},
		{"tolerated", []*corev1.Node{amd, tainted}, nil,
			tolerating(corev1.Toleration{Key: "dedicated", Operator: corev1.TolerationOpExists}), both},
		{"preferred elsewhere", []*corev1.Node{dedicated("arm-1", "x", preferNoSchedule)}, nil, corev1.PodSpec{}, []string{"arm64"}},
		{"executes nothing", []*corev1.Node{dedicated("arm-1", "x", noExecute)}, nil, corev1.PodSpec{}, []string{}},
		{"not ready for a while", []*corev1.Node{notReady}, nil, corev1.PodSpec{}, []string{"arm64"}},
		{"tolerated on one of two nodes by its value",
			[]*corev1.Node{dedicated("arm-1", "x", noSchedule), dedicated("arm-2", "y", noSchedule)}, nil,
			tolerating(corev1.Toleration{Key: "dedicated", Value: "y"}), []string{"arm64"}},
		{"tolerated on one of two nodes by its effect",
			[]*corev1.Node{dedicated("arm-1", "x", noSchedule), dedicated("arm-2", "x", noExecute)}, nil,
			tolerating(corev1.Toleration{Key: "dedicated", Value: "x", Effect: noExecute}), []string{"arm64"}},
		{"bound", []*corev1.Node{amd, tainted}, nil, corev1.PodSpec{NodeName: "arm-1"}, []string{"arm64"}},
		{"bound to a node that is not known", []*corev1.Node{amd}, nil, corev1.PodSpec{NodeName: "arm-9"}, both},
		{"bound to a node that does not tell", []*corev1.Node{amd, unlabelled}, nil, corev1.PodSpec{NodeName: "old-1"}, both},
		{"bound to an architecture of no interest", []*corev1.Node{node("z", "s390x")}, nil, corev1.PodSpec{NodeName: "z"}, []string{}},
		{"pinned", []*corev1.Node{amd, arm}, nil, on(nodeNamed(in, "arm-1")), []string{"arm64"}},
		{"pinned to several", []*corev1.Node{amd, arm}, nil, on(nodeNamed(in, "arm-1"), nodeNamed(in, "amd-1")), both},
		{"pinned to a node that is not known", []*corev1.Node{amd}, nil, on(nodeNamed(in, "arm-9")), both},
		{"pinned to a tainted node", []*corev1.Node{amd, tainted}, nil, on(nodeNamed(in, "arm-1")), []string{}},
		{"pinned to two at once", []*corev1.Node{amd, arm}, nil, on(all(nodeNamed(in, "arm-1"), nodeNamed(in, "amd-1"))), []string{}},
		{"pinned to two at once, of which one is not known", []*corev1.Node{arm}, nil,
			on(all(nodeNamed(in, "amd-9"), nodeNamed(in, "arm-1"))), []string{}},
		{"not on a node", []*corev1.Node{amd, arm}, nil, on(nodeNamed(notIn, "amd-1")), []string{"arm64"}},
		{"pinned, or on some other", []*corev1.Node{amd, arm}, nil, on(nodeNamed(in, "amd-1"), ssd), []string{"amd64"}},
		{"pinned to a node that is not known, or on some other", []*corev1.Node{amd}, nil, on(nodeNamed(in, "arm-9"), ssd), both},
		{"pinned to a node that is not known, of an architecture", []*corev1.Node{amd}, nil,
			on(all(nodeNamed(in, "arm-9"), arch("arm64")), arch("s390x")), []string{"arm64"}},
		{"pinned to a node that is not known, of an architecture, or on some other", []*corev1.Node{amd}, nil,
			on(all(nodeNamed(in, "any-9"), arch("arm64")), ssd), both},
		{"pinned, or on a node that is not known, of an architecture", []*corev1.Node{amd}, nil,
			on(nodeNamed(in, "amd-1"), all(nodeNamed(in, "arm-9"), arch("s390x"))), []string{"amd64"}},
		{"pinned, with a pool scaled to zero", []*corev1.Node{amd}, []string{"arm64"}, on(nodeNamed(in, "amd-1")), []string{"amd64"}},
		{"not on a node, with a pool scaled to zero", []*corev1.Node{amd}, []string{"arm64"}, on(nodeNamed(notIn, "amd-1")), []string{"arm64"}},
		{"pinned to a node that is not known, with a pool scaled to zero", []*corev1.Node{amd}, []string{"arm64"},
			on(nodeNamed(in, "arm-9")), both},
		{"affinity without terms", []*corev1.Node{amd, arm}, nil, on(), []string{}},
		{"more than what is no number", []*corev1.Node{amd, arm}, nil, on(manyCores), []string{}},
		{"more than what is no number, or on one architecture", []*corev1.Node{amd, arm}, nil, on(manyCores, arch("arm64")), []string{"arm64"}},
		{"tolerated from a number on", []*corev1.Node{amd, numbered}, nil, level(corev1.TolerationOpGt, "4"), both},
		{"not tolerated from a number on", []*corev1.Node{amd, numbered}, nil, level(corev1.TolerationOpGt, "5"), []string{"amd64"}},
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

// TestNodesStatus: a node without labels may come before its kubelet tells the
// architecture.
func TestNodesStatus(t *testing.T) {
	nodes, told := NewNodes(), node("arm-1", "")
	nodes.Set(node("arm-1", ""))
	told.Status.NodeInfo.Architecture = "arm64"
	nodes.Set(told)
	if diff := cmp.Diff([]string{"arm64"}, nodes.Architectures(&corev1.PodSpec{}, []string{"amd64", "arm64"})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNodesAgainstMatchers compares with the scheduler's matchers, node by node,
// while random nodes come, change and go. test/scheduler compares with the scheduler
// itself.
func TestNodesAgainstMatchers(t *testing.T) {
	candidates := scheduler.Architectures()
	decided := map[int]int{} // by how many architectures were possible
	for seed := range uint64(300) {
		random := scheduler.NewRandom(seed)
		nodes, live := NewNodes(), map[string]*corev1.Node{}
		for range 40 {
			name := random.Name()
			if random.IntN(5) == 0 {
				nodes.Remove(name)
				delete(live, name)
				continue
			}
			n := random.Node(name)
			nodes.Set(n)
			live[name] = n
		}
		for range 20 {
			spec := random.Pod("lb").Spec
			names, _ := named(spec.Affinity)
			if spec.NodeName != "" || slices.ContainsFunc(names, func(name string) bool { return live[name] == nil }) {
				continue // other than by live nodes alone
			}
			want := []string{}
			for _, arch := range candidates {
				for _, n := range live {
					if own := architectureOf(n); (own == arch || own == "") && schedulable(&spec, n) {
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

// TestSpecAgainstMatchers: what a spec alone tells rules out no architecture with a
// node on which the scheduler's matchers would have the Pod.
func TestSpecAgainstMatchers(t *testing.T) {
	ruledOut, landed := 0, 0
	for seed := range uint64(20_000) {
		random := scheduler.NewRandom(seed)
		spec, n := random.Pod("lb").Spec, random.Node(random.Name())
		arch := scheduler.Architectures()[seed%3]
		for _, label := range archLabels { // as a kubelet sets them
			n.Labels[label] = arch
		}
		possible := Architectures(&spec, []string{arch})
		switch lands := schedulable(&spec, n); {
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

// schedulable asks the scheduler's own functions about one Pod and one node, once
// that is settled.
func schedulable(spec *corev1.PodSpec, n *corev1.Node) bool {
	matched, _ := nodeaffinity.GetRequiredNodeAffinity(&corev1.Pod{Spec: *spec}).Match(n) // the scheduler ignores the error too
	repels := func(taint *corev1.Taint) bool {
		return taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute
	}
	taints := scheduler.Settled(n).Spec.Taints
	_, untolerated := corev1helpers.FindMatchingUntoleratedTaint(logr.Discard(), taints, spec.Tolerations, repels, true)
	return matched && !untolerated
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
	for name, spec := range map[string]corev1.PodSpec{
		"open": {}, "daemon": on(nodeNamed(corev1.NodeSelectorOpIn, "node-3")),
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
