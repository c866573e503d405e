// Package scheduler compares capvet's placement of Pods with that of Kubernetes'
// own scheduler and DaemonSet controller on the same nodes. Pods and nodes are
// random, with all the inputs of these two: names, labels, affinity, taints and
// tolerations. It does not measure speed.
package scheduler

import (
	"math/rand/v2"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	archLabel    = corev1.LabelArchStable
	oldArchLabel = "beta.kubernetes.io/arch"
	// levelTaint has a number as its value, for tolerations that compare.
	levelTaint = "level"
	// manyNodes is how many names of nodes there are, manyClusterNodes how many nodes
	// a cluster has at most: Pods also name nodes that are not there.
	manyNodes, manyClusterNodes = 12, 10
)

// Architectures returns the architectures of random nodes.
func Architectures() []string { return []string{"amd64", "arm64", "riscv64"} }

func labelKeys() []string { return []string{"zone", "disk", "cores", corev1.LabelHostname} }

// passingTaints returns the keys of taints that Kubernetes sets for a while.
func passingTaints() []string {
	return []string{
		corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeUnschedulable, corev1.TaintNodeMemoryPressure,
		corev1.TaintNodeDiskPressure, corev1.TaintNodePIDPressure, corev1.TaintNodeNetworkUnavailable, corev1.TaintNodeOutOfService,
		"node.cloudprovider.kubernetes.io/uninitialized",
	}
}

// Random makes nodes and Pods. An API server takes them all, but for the few Pods
// whose tolerations compare, which it takes with a feature gate.
type Random struct{ *rand.Rand }

// NewRandom returns the one of a seed.
func NewRandom(seed uint64) Random { return Random{rand.New(rand.NewPCG(seed, 1))} }

// Name returns the name of a node.
func (r Random) Name() string { return "node-" + strconv.Itoa(r.IntN(manyNodes)) }

// Nodes returns those of a cluster.
func (r Random) Nodes() []*corev1.Node {
	var nodes []*corev1.Node
	for _, i := range r.Perm(manyNodes)[:1+r.IntN(manyClusterNodes)] {
		nodes = append(nodes, r.Node("node-"+strconv.Itoa(i)))
	}
	return nodes
}

// Node returns a node. Most tell their architecture as a kubelet does; the others in
// some of the places, or not at all.
func (r Random) Node(name string) *corev1.Node {
	arch := pick(r, Architectures()...)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		archLabel: arch, oldArchLabel: arch, corev1.LabelHostname: name,
	}}}
	n.Status.NodeInfo.Architecture = arch
	switch r.IntN(16) {
	case 0:
		delete(n.Labels, archLabel)
		delete(n.Labels, oldArchLabel)
		n.Status.NodeInfo.Architecture = pick(r, "", arch)
	case 1:
		delete(n.Labels, pick(r, archLabel, oldArchLabel))
	case 2:
		n.Status.NodeInfo.Architecture = ""
	}
	for _, label := range []string{"zone", "disk"} {
		if r.IntN(2) == 0 {
			n.Labels[label] = pick(r, "", "a", "b")
		}
	}
	if r.IntN(2) == 0 {
		n.Labels["cores"] = pick(r, "many", strconv.Itoa(r.IntN(10)))
	}
	n.Spec.Unschedulable = r.IntN(8) == 0
	for _, key := range append([]string{"dedicated", "gpu", levelTaint}, passingTaints()...) {
		taint := corev1.Taint{Key: key, Value: pick(r, "", "x", "y"), Effect: pick(r, effects()...)}
		if key == levelTaint {
			taint.Value = strconv.Itoa(r.IntN(10))
		}
		if r.IntN(8) == 0 || key == "dedicated" && r.IntN(3) == 0 {
			n.Spec.Taints = append(n.Spec.Taints, taint)
		}
	}
	return n
}

func effects() []corev1.TaintEffect {
	return []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute, corev1.TaintEffectPreferNoSchedule}
}

// Settled returns a node in good health: without the taints that Kubernetes sets
// for a while, and not cordoned.
func Settled(node *corev1.Node) *corev1.Node {
	settled := node.DeepCopy()
	settled.Spec.Unschedulable = false
	settled.Spec.Taints = slices.DeleteFunc(settled.Spec.Taints, func(taint corev1.Taint) bool {
		return slices.Contains(passingTaints(), taint.Key)
	})
	return settled
}

// Pod returns a Pod, whose spec is also good as a DaemonSet's template.
func (r Random) Pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": name}}, Spec: r.spec()}
}

func (r Random) spec() corev1.PodSpec {
	spec := corev1.PodSpec{
		Containers:  []corev1.Container{{Name: "lb", Image: "haproxy:3.0"}},
		HostNetwork: r.IntN(4) == 0,
		Affinity:    r.affinity(),
	}
	if r.IntN(12) == 0 {
		spec.NodeName = r.Name()
	}
	if r.IntN(4) == 0 {
		key := pick(r, append(labelKeys(), archLabel, oldArchLabel)...)
		spec.NodeSelector = map[string]string{key: r.value(key)}
	}
	if r.IntN(3) > 0 {
		for range r.IntN(5) {
			spec.Tolerations = append(spec.Tolerations, r.toleration())
		}
	}
	return spec
}

func (r Random) toleration() corev1.Toleration {
	toleration := corev1.Toleration{
		Key:      pick(r, append([]string{"", "dedicated", "gpu", levelTaint}, passingTaints()...)...),
		Operator: pick(r, "", corev1.TolerationOpEqual, corev1.TolerationOpExists),
		Effect:   pick(r, append(effects(), "")...),
	}
	switch {
	case toleration.Key == "":
		toleration.Operator = corev1.TolerationOpExists
	case toleration.Key == levelTaint:
		toleration.Operator = pick(r, corev1.TolerationOpEqual, corev1.TolerationOpGt, corev1.TolerationOpLt)
		toleration.Value = strconv.Itoa(r.IntN(10))
	case toleration.Operator != corev1.TolerationOpExists:
		toleration.Value = pick(r, "", "x", "y")
	}
	if toleration.Effect == corev1.TaintEffectNoExecute && r.IntN(2) == 0 {
		toleration.TolerationSeconds = new(int64(r.IntN(300)))
	}
	return toleration
}

// Compares reports whether an API server accepts a Pod only with the feature gate
// TaintTolerationComparisonOperators.
func Compares(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
		return t.Operator == corev1.TolerationOpGt || t.Operator == corev1.TolerationOpLt
	})
}

func (r Random) affinity() *corev1.Affinity {
	switch r.IntN(6) {
	case 0:
		return nil
	case 1:
		return &corev1.Affinity{}
	case 2: // without required terms
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{
				{Weight: 1, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{r.requirement()}}},
			}}}
	}
	var required corev1.NodeSelector
	for range 1 + r.IntN(3) {
		required.NodeSelectorTerms = append(required.NodeSelectorTerms, r.term())
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &required}}
}

// term returns one that may be empty, and then matches no node.
func (r Random) term() corev1.NodeSelectorTerm {
	var term corev1.NodeSelectorTerm
	for range r.IntN(3) {
		term.MatchExpressions = append(term.MatchExpressions, r.requirement())
	}
	if r.IntN(3) == 0 {
		for range 1 + r.IntN(2) {
			term.MatchFields = append(term.MatchFields, corev1.NodeSelectorRequirement{
				Key: metav1.ObjectNameField, Operator: pick(r, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn), Values: []string{r.Name()},
			})
		}
	}
	return term
}

func (r Random) requirement() corev1.NodeSelectorRequirement {
	key := pick(r, append(labelKeys(), archLabel, archLabel, oldArchLabel)...)
	requirement := corev1.NodeSelectorRequirement{Key: key, Operator: pick(r,
		corev1.NodeSelectorOpIn, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn, corev1.NodeSelectorOpExists,
		corev1.NodeSelectorOpDoesNotExist)}
	if key == "cores" {
		requirement.Operator = pick(r, requirement.Operator, corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt)
	}
	switch requirement.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		for range 1 + r.IntN(3) {
			requirement.Values = append(requirement.Values, r.value(key))
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		requirement.Values = []string{r.value(key)}
	}
	return requirement
}

// value returns one of a label that a Pod may ask for. Not all are numbers where
// numbers are compared: an API server takes them.
func (r Random) value(key string) string {
	switch key {
	case archLabel, oldArchLabel:
		return pick(r, append(Architectures(), "s390x")...)
	case "cores":
		return pick(r, "many", strconv.Itoa(r.IntN(10)), strconv.Itoa(r.IntN(10)))
	case corev1.LabelHostname:
		return r.Name()
	}
	return pick(r, "", "a", "b")
}

func pick[T any](r Random, from ...T) T { return from[r.IntN(len(from))] }
