//go:build integration

package scheduler

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/capvet/capvet/internal/placement"
)

// view is a cluster, and the part that capvet sees.
type view struct {
	nodes, settled []*corev1.Node
	pods           []*corev1.Pod

	all       *placement.Nodes
	allAlways *placement.Nodes // where always count as well
	some      *placement.Nodes // of known nodes alone, where always count as well
	known     []string
	always    []string
}

func newView(r Random) *view {
	v := &view{nodes: r.Nodes()}
	for _, n := range v.nodes {
		v.settled = append(v.settled, Settled(n))
	}
	for i := range podsPerCluster {
		v.pods = append(v.pods, r.Pod("pod-"+strconv.Itoa(i)))
	}
	for _, arch := range Architectures() {
		if r.IntN(3) == 0 {
			v.always = append(v.always, arch)
		}
	}
	v.all, v.allAlways, v.some = placement.NewNodes(), placement.NewNodes(v.always...), placement.NewNodes(v.always...)
	for range 2 * manyNodes { // others were there before
		for _, nodes := range []*placement.Nodes{v.all, v.allAlways, v.some} {
			nodes.Set(placement.Strip(r.Node(r.Name())))
		}
	}
	for i := range manyNodes {
		for _, nodes := range []*placement.Nodes{v.all, v.allAlways, v.some} {
			if name := "node-" + strconv.Itoa(i); nodes == v.some || !slices.ContainsFunc(v.nodes, named(name)) {
				nodes.Remove(name)
			}
		}
	}
	for _, n := range v.nodes {
		v.all.Set(placement.Strip(n))
		v.allAlways.Set(placement.Strip(n))
		if r.IntN(3) > 0 {
			v.some.Set(placement.Strip(n))
			v.known = append(v.known, n.Name)
		}
	}
	return v
}

func named(name string) func(*corev1.Node) bool {
	return func(n *corev1.Node) bool { return n.Name == name }
}

// architectures returns those of the nodes of these names that meet a condition, all
// that there are where such a node does not tell.
func (v *view) architectures(names []string, condition func(*corev1.Node) bool) []string {
	there := map[string]bool{}
	for _, n := range v.nodes {
		if !slices.Contains(names, n.Name) || !condition(n) {
			continue
		}
		arch := cmp.Or(n.Labels[archLabel], n.Status.NodeInfo.Architecture)
		if arch == "" {
			return Architectures()
		}
		there[arch] = true
	}
	return slices.DeleteFunc(Architectures(), func(arch string) bool { return !there[arch] })
}

func anyNode(*corev1.Node) bool { return true }

// labelled reports whether a node has the labels that every kubelet sets. capvet's
// results for nodes that it does not see hold only for such nodes.
func labelled(n *corev1.Node) bool {
	return n.Labels[archLabel] != "" && n.Labels[archLabel] == n.Labels[oldArchLabel]
}

// example is one Pod in one cluster, and where Kubernetes puts it: as the nodes are,
// and once they are settled.
type example struct {
	*view
	pod          *corev1.Pod
	now, settled podAnswer
}

func (e *example) String() string {
	var b strings.Builder
	write := func(what string, value any) {
		text, _ := json.Marshal(value) // they were sent that way
		fmt.Fprintf(&b, "%s: %s\n", what, text)
	}
	write("spec", e.pod.Spec)
	for _, n := range e.nodes {
		write("node", n)
	}
	fmt.Fprintf(&b, "known: %v, always: %v\nscheduler: %v, once settled: %v", e.known, e.always, e.now.Nodes, e.settled.Nodes)
	return b.String()
}

// asks returns the names of nodes that a Pod's required affinity asks for.
func (e *example) asks() (names []string) {
	if a := e.pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
			for _, field := range term.MatchFields {
				if field.Operator == corev1.NodeSelectorOpIn {
					names = append(names, field.Values...)
				}
			}
		}
	}
	return names
}

// asksForOthers reports whether the Pod asks for a node that is not among these.
func (e *example) asksForOthers(names []string) bool {
	return slices.ContainsFunc(e.asks(), func(name string) bool { return !slices.Contains(names, name) })
}

func (e *example) names() (names []string) {
	for _, n := range e.nodes {
		names = append(names, n.Name)
	}
	return names
}

func (e *example) bySpec() []string { return placement.Architectures(&e.pod.Spec, Architectures()) }
