package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Nodes are the live nodes of a cluster, as far as they are known. It is safe
// for concurrent use.
type Nodes struct {
	always []string

	mu     sync.RWMutex
	byName map[string]*corev1.Node
	pools  map[poolKey]*pool
}

// poolKey is what all nodes of a pool have in common: their architecture, empty
// where a node does not tell, and the taints that keep Pods away.
type poolKey struct{ arch, taints string }

type pool struct {
	taints []corev1.Taint
	nodes  map[string]*corev1.Node
}

// NewNodes returns an empty cluster. Pods are taken to land on the architectures
// always (GOARCH names) if their specs allow, whatever nodes there are: those of
// node pools that are scaled to zero.
func NewNodes(always ...string) *Nodes {
	return &Nodes{always: always, byName: map[string]*corev1.Node{}, pools: map[poolKey]*pool{}}
}

// Strip returns a node with nothing but what Nodes looks at, to keep a cache
// small.
func Strip(node *corev1.Node) *corev1.Node {
	return &corev1.Node{
		TypeMeta:   node.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, Labels: node.Labels},
		Spec:       corev1.NodeSpec{Taints: node.Spec.Taints},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{Architecture: node.Status.NodeInfo.Architecture}},
	}
}

// Set adds a node, or replaces the one of the same name. The node must not be
// changed afterwards.
func (n *Nodes) Set(node *corev1.Node) {
	key, taints := poolOf(node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.byName[node.Name]; ok {
		if equality.Semantic.DeepEqual(old.Labels, node.Labels) && equality.Semantic.DeepEqual(old.Spec.Taints, node.Spec.Taints) {
			return
		}
		n.remove(old)
	}
	n.byName[node.Name] = node
	if n.pools[key] == nil {
		n.pools[key] = &pool{taints: taints, nodes: map[string]*corev1.Node{}}
	}
	n.pools[key].nodes[node.Name] = node
}

// Remove forgets a node.
func (n *Nodes) Remove(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.byName[name]; ok {
		n.remove(old)
	}
}

func (n *Nodes) remove(old *corev1.Node) {
	key, _ := poolOf(old)
	delete(n.byName, old.Name)
	delete(n.pools[key].nodes, old.Name)
	if len(n.pools[key].nodes) == 0 {
		delete(n.pools, key)
	}
}

// Architectures returns those of candidates (GOARCH names), in their order, on
// which a Pod with this spec can land: where some live node meets its required
// node affinity and selector and has no taint that it does not tolerate, or
// where its spec alone allows one of the architectures that always count. A
// cluster without known nodes, a node name that is not known and a node without
// a known architecture rule nothing out.
func (n *Nodes) Architectures(spec *corev1.PodSpec, candidates []string) []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if len(n.byName) == 0 {
		return Architectures(spec, candidates)
	}
	if spec.NodeName != "" {
		return n.ofNode(spec, candidates)
	}
	var lands func(arch string) bool
	if names, pinned := pinnedTo(spec.Affinity); pinned {
		lands = func(arch string) bool { return n.someOf(names, spec, arch) }
	} else {
		lands = func(arch string) bool { return n.some(spec, arch) }
	}
	possible := make([]string, 0, len(candidates))
	for _, arch := range candidates {
		if lands(arch) || slices.Contains(n.always, arch) && specAllows(spec, arch) {
			possible = append(possible, arch)
		}
	}
	return possible
}

// ofNode is for a Pod that was bound without the scheduler.
func (n *Nodes) ofNode(spec *corev1.PodSpec, candidates []string) []string {
	node, known := n.byName[spec.NodeName]
	if !known || architectureOf(node) == "" {
		return Architectures(spec, candidates)
	}
	if arch := architectureOf(node); slices.Contains(candidates, arch) {
		return []string{arch}
	}
	return []string{}
}

// some says that a Pod with this spec can land on some node of an architecture.
func (n *Nodes) some(spec *corev1.PodSpec, arch string) bool {
	required := nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity)
	undemanding := len(spec.NodeSelector) == 0 && requiredTerms(spec.Affinity) == nil
	for key, pool := range n.pools {
		if key.arch != arch && key.arch != "" || !tolerates(spec.Tolerations, pool.taints) {
			continue
		}
		if undemanding {
			return true
		}
		for _, node := range pool.nodes {
			if matches(required, node) {
				return true
			}
		}
	}
	return false
}

// someOf is some for nodes known by name, as a DaemonSet's Pods are pinned.
func (n *Nodes) someOf(names []string, spec *corev1.PodSpec, arch string) bool {
	required := nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity)
	for _, name := range names {
		node, known := n.byName[name]
		if !known {
			if specAllows(spec, arch) {
				return true
			}
			continue
		}
		key, taints := poolOf(node)
		if (key.arch == arch || key.arch == "") && tolerates(spec.Tolerations, taints) && matches(required, node) {
			return true
		}
	}
	return false
}

// matches asks the scheduler's matcher. What cannot be understood rules nothing
// out.
func matches(required nodeaffinity.RequiredNodeAffinity, node *corev1.Node) bool {
	matched, err := required.Match(node)
	return matched || err != nil
}

func tolerates(tolerations []corev1.Toleration, taints []corev1.Taint) bool {
	if len(taints) == 0 {
		return true
	}
	_, untolerated := corev1helpers.FindMatchingUntoleratedTaint(logr.Discard(), taints, tolerations, nil, true)
	return !untolerated
}

func requiredTerms(affinity *corev1.Affinity) *corev1.NodeSelector {
	if affinity == nil || affinity.NodeAffinity == nil {
		return nil
	}
	return affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// pinnedTo returns the names of the only nodes that an affinity allows; false
// where some term leaves the name open.
func pinnedTo(affinity *corev1.Affinity) (names []string, pinned bool) {
	required := requiredTerms(affinity)
	if required == nil || len(required.NodeSelectorTerms) == 0 {
		return nil, false
	}
	for _, term := range required.NodeSelectorTerms {
		i := slices.IndexFunc(term.MatchFields, func(r corev1.NodeSelectorRequirement) bool {
			return r.Key == metav1.ObjectNameField && r.Operator == corev1.NodeSelectorOpIn
		})
		if i < 0 {
			return nil, false
		}
		names = append(names, term.MatchFields[i].Values...)
	}
	return names, true
}

// architectureOf returns a node's architecture, empty if it does not tell.
func architectureOf(node *corev1.Node) string {
	return cmp.Or(node.Labels[corev1.LabelArchStable], node.Status.NodeInfo.Architecture)
}

// poolOf returns the pool that a node belongs to, and the taints that keep Pods
// away from it.
func poolOf(node *corev1.Node) (poolKey, []corev1.Taint) {
	var taints []corev1.Taint
	for _, taint := range node.Spec.Taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule && !passing(taint.Key) {
			taints = append(taints, taint)
		}
	}
	slices.SortFunc(taints, func(a, b corev1.Taint) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Effect, b.Effect))
	})
	var key strings.Builder
	for _, taint := range taints {
		fmt.Fprintf(&key, "%s=%s:%s ", taint.Key, taint.Value, taint.Effect)
	}
	return poolKey{architectureOf(node), key.String()}, taints
}

// passing says that a taint is one that Kubernetes sets on a node for a while:
// not ready, under pressure, cordoned, not yet initialized. A Pod may well land
// there later.
func passing(taint string) bool {
	return strings.HasPrefix(taint, "node.kubernetes.io/") || strings.HasPrefix(taint, "node.cloudprovider.kubernetes.io/")
}
