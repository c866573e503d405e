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

// Nodes holds the known live nodes of a cluster. It is safe for concurrent use.
type Nodes struct {
	always []string

	mu     sync.RWMutex
	byName map[string]*corev1.Node
	pools  map[poolKey]*pool
}

// maxMatches bounds the comparisons of requirements with nodes for one Pod: about a tenth of a
// second. In a cluster of 5,000 nodes it leaves room for 800 requirements and values, of which
// Pods have about ten. Beyond it, the nodes rule out no architecture.
const maxMatches = 4_000_000

// poolKey identifies a pool: nodes with the same architecture (empty if unknown) and
// the same taints that repel Pods.
type poolKey struct{ arch, taints string }

type pool struct {
	taints []corev1.Taint
	nodes  map[string]*corev1.Node
}

// NewNodes returns a cluster without nodes. If its spec allows, a Pod can land on
// the architectures always (GOARCH names) without a node that has them: they are
// those of node pools that are scaled to zero.
func NewNodes(always ...string) *Nodes {
	return &Nodes{always: always, byName: map[string]*corev1.Node{}, pools: map[poolKey]*pool{}}
}

// Strip returns a copy of a node with the fields that Nodes uses, for a small cache.
func Strip(node *corev1.Node) *corev1.Node {
	return &corev1.Node{
		TypeMeta:   node.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion, Labels: node.Labels},
		Spec:       corev1.NodeSpec{Taints: node.Spec.Taints},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{Architecture: node.Status.NodeInfo.Architecture}},
	}
}

// Set adds a node, or replaces the node of the same name. The caller must not modify
// it afterwards.
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

// Remove removes a node.
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

// Architectures returns the candidates (GOARCH names, in the same order) on which a
// Pod with this spec can land: a live node meets its required node affinity and
// selector and has no taint that it does not tolerate, or its spec allows a new
// node of one of the architectures given to NewNodes. An architecture is not ruled
// out by a cluster without known nodes, by an unknown node that the Pod names,
// by a node of unknown architecture, or by requirements beyond maxMatches.
func (n *Nodes) Architectures(spec *corev1.PodSpec, candidates []string) []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	bound, known := n.byName[spec.NodeName] // without the scheduler
	switch {
	case len(n.byName) == 0, spec.NodeName != "" && (!known || architectureOf(bound) == ""):
		return Architectures(spec, candidates)
	case spec.NodeName != "":
		return keep(candidates, func(arch string) bool { return arch == architectureOf(bound) })
	}
	if weight(spec) > maxMatches/len(n.byName) {
		return Architectures(spec, candidates)
	}
	names, pinned := named(spec.Affinity)
	var nodes []*corev1.Node
	for _, name := range names {
		if node, ok := n.byName[name]; ok {
			nodes = append(nodes, node)
		}
	}
	return keep(candidates, func(arch string) bool {
		return pinned && landsOn(nodes, spec, arch) || !pinned && n.landsOnAny(spec, arch) ||
			n.landsOnUnknown(spec, arch, len(nodes) < len(names))
	})
}

// landsOnAny reports whether a Pod with this spec can land on a known node of an
// architecture.
func (n *Nodes) landsOnAny(spec *corev1.PodSpec, arch string) bool {
	required := nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity)
	for key, pool := range n.pools {
		if key.arch != arch && key.arch != "" || !tolerates(spec.Tolerations, pool.taints) {
			continue
		}
		for _, node := range pool.nodes {
			if matches(required, node) {
				return true
			}
		}
	}
	return false
}

// landsOn is landsOnAny for the nodes that a Pod is pinned to, such as the node of a
// DaemonSet's Pod.
func landsOn(nodes []*corev1.Node, spec *corev1.PodSpec, arch string) bool {
	required := nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity)
	return slices.ContainsFunc(nodes, func(node *corev1.Node) bool {
		key, taints := poolOf(node)
		return (key.arch == arch || key.arch == "") && tolerates(spec.Tolerations, taints) && matches(required, node)
	})
}

// landsOnUnknown reports whether a Pod with this spec can land on an unknown node of
// an architecture: on one that the spec names, or, if named is set or the
// architecture was given to NewNodes, on any.
func (n *Nodes) landsOnUnknown(spec *corev1.PodSpec, arch string, named bool) bool {
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

// matches applies the scheduler's matcher. As in the scheduler, a term that cannot
// be parsed matches no node.
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

// named returns the sorted names of the nodes that an affinity names; pinned reports
// whether it excludes all other nodes.
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

// namesOf returns the names of nodes that a term names. A term with one name
// excludes all other nodes; a term with several names matches no node.
func namesOf(term corev1.NodeSelectorTerm) (names []string) {
	for _, field := range term.MatchFields {
		if field.Key == metav1.ObjectNameField && field.Operator == corev1.NodeSelectorOpIn {
			names = append(names, field.Values...)
		}
	}
	return names
}

// architectureOf returns a node's architecture; empty if it is unknown.
func architectureOf(node *corev1.Node) string {
	return cmp.Or(node.Labels[corev1.LabelArchStable], node.Status.NodeInfo.Architecture)
}

// poolOf returns the pool of a node, and the taints that repel Pods from it.
func poolOf(node *corev1.Node) (poolKey, []corev1.Taint) {
	var taints []corev1.Taint
	for _, taint := range node.Spec.Taints {
		if taint.Effect != corev1.TaintEffectPreferNoSchedule && !temporary(taint.Key) {
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

// temporary reports whether Kubernetes sets this taint on a node for a limited time:
// not ready, under pressure, cordoned, not yet initialized. A Pod can land there
// later.
func temporary(taint string) bool {
	return strings.HasPrefix(taint, "node.kubernetes.io/") || strings.HasPrefix(taint, "node.cloudprovider.kubernetes.io/")
}
