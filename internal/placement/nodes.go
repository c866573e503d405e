package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
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
		if oldKey, _ := poolOf(old); oldKey == key && maps.Equal(old.Labels, node.Labels) {
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
// where its spec allows a new node of one of the architectures that always count. A
// cluster without known nodes, a node that the Pod names and that is not known, and
// a node without a known architecture rule nothing out.
func (n *Nodes) Architectures(spec *corev1.PodSpec, candidates []string) []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if len(n.byName) == 0 {
		return Architectures(spec, candidates)
	}
	if spec.NodeName != "" {
		return n.ofNode(spec, candidates)
	}
	names, pinned := named(spec.Affinity)
	known, unknown := n.split(names)
	possible := make([]string, 0, len(candidates))
	for _, arch := range candidates {
		if pinned && someOf(known, spec, arch) || !pinned && n.some(spec, arch) || n.someUnknown(spec, arch, unknown) {
			possible = append(possible, arch)
		}
	}
	return possible
}

// split returns those of the nodes that are known, and whether some are not.
func (n *Nodes) split(names []string) (known []*corev1.Node, unknown bool) {
	for _, name := range names {
		if node, ok := n.byName[name]; ok {
			known = append(known, node)
		} else {
			unknown = true
		}
	}
	return known, unknown
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

// someOf is some for the only nodes that count, such as the one that a DaemonSet's
// Pod is pinned to.
func someOf(nodes []*corev1.Node, spec *corev1.PodSpec, arch string) bool {
	required := nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity)
	for _, node := range nodes {
		key, taints := poolOf(node)
		if (key.arch == arch || key.arch == "") && tolerates(spec.Tolerations, taints) && matches(required, node) {
			return true
		}
	}
	return false
}

// someUnknown says that a Pod with this spec can land on a node of an architecture
// that is not known: one that it names, or any if it names one at all or the
// architecture always counts.
func (n *Nodes) someUnknown(spec *corev1.PodSpec, arch string, named bool) bool {
	if !selectorAllows(spec.NodeSelector, arch) {
		return false
	}
	unnamed := named || slices.Contains(n.always, arch)
	required := requiredTerms(spec.Affinity)
	if required == nil {
		return unnamed
	}
	for _, term := range required.NodeSelectorTerms {
		if names := namesOf(term); len(names) == 0 {
			if unnamed && termAllows(term, arch, "") {
				return true
			}
		} else if _, known := n.byName[names[0]]; !known && termAllows(term, arch, names[0]) {
			return true
		}
	}
	return false
}

// matches asks the scheduler's matcher. As in the scheduler, a term that cannot be
// parsed matches no node.
func matches(required nodeaffinity.RequiredNodeAffinity, node *corev1.Node) bool {
	matched, _ := required.Match(node)
	return matched
}

func tolerates(tolerations []corev1.Toleration, taints []corev1.Taint) bool {
	if len(taints) == 0 {
		return true
	}
	_, untolerated := corev1helpers.FindMatchingUntoleratedTaint(logr.Discard(), taints, tolerations, nil, true)
	return !untolerated
}

// named returns the names of the nodes that an affinity asks for, each once; pinned
// says that it allows no others.
func named(affinity *corev1.Affinity) (names []string, pinned bool) {
	required := requiredTerms(affinity)
	if required == nil {
		return nil, false
	}
	pinned = true
	for _, term := range required.NodeSelectorTerms {
		own := namesOf(term)
		names = append(names, own...)
		pinned = pinned && len(own) > 0
	}
	slices.Sort(names)
	return slices.Compact(names), pinned
}

// namesOf returns the names of nodes that a term asks for. It allows no others if
// there is one, and no node at all if there are several.
func namesOf(term corev1.NodeSelectorTerm) (names []string) {
	for _, field := range term.MatchFields {
		if field.Key == metav1.ObjectNameField && field.Operator == corev1.NodeSelectorOpIn {
			names = append(names, field.Values...)
		}
	}
	return names
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
