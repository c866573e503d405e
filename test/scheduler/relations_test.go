//go:build integration

package scheduler

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/capvet/capvet/internal/placement"
)

// bounds are capvet's architectures for a Pod, with a lower and an upper bound.
type bounds struct{ got, atLeast, atMost []string }

func (b bounds) hold() bool { return within(b.atLeast, b.got) && within(b.got, b.atMost) }

func within(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func exactly(got, want []string) []bounds { return []bounds{{got, want, want}} }

// relation is a relation between capvet's and Kubernetes' results for a Pod; it has
// no bounds for a Pod to which it does not apply. Each number of architectures in
// outcomes must occur.
type relation struct {
	name     string
	of       func(*example) []bounds
	outcomes []int
}

// relations returns all relations. capvet ignores some conditions on purpose, so it
// returns more than the scheduler: taints that Kubernetes sets for a while and
// cordons (on settled nodes the two agree), refusals by a kubelet of Pods bound to
// its node, and nodes that it does not see.
func relations() []relation {
	free := func(e *example) bool { return e.pod.Spec.NodeName == "" }
	return []relation{
		{"the nodes as they are now", func(e *example) []bounds {
			return []bounds{{e.all.Architectures(&e.pod.Spec, Architectures()), e.architectures(e.now.Nodes, anyNode), Architectures()}}
		}, []int{0, 1, 2, 3}},
		{"the nodes once settled", func(e *example) []bounds {
			if !free(e) || e.asksForOthers(e.names()) {
				return nil
			}
			return exactly(e.all.Architectures(&e.pod.Spec, Architectures()), e.architectures(e.settled.Nodes, anyNode))
		}, []int{0, 1, 2, 3}},
		{"asks for a node that is not there", func(e *example) []bounds {
			if !free(e) || !e.asksForOthers(e.names()) {
				return nil
			}
			there := e.architectures(e.settled.Nodes, anyNode)
			return []bounds{{e.all.Architectures(&e.pod.Spec, Architectures()), there, slices.Concat(there, e.bySpec())}}
		}, []int{0, 1, 3}},
		{"bound to a node", func(e *example) []bounds {
			got := e.all.Architectures(&e.pod.Spec, Architectures())
			switch at := e.pod.Spec.NodeName; {
			case at == "":
				return nil
			case !slices.ContainsFunc(e.nodes, named(at)):
				return exactly(got, e.bySpec())
			default: // a kubelet is not asked whether it takes the Pod
				at := e.architectures([]string{at}, anyNode)
				if len(at) > 1 {
					return exactly(got, e.bySpec())
				}
				return exactly(got, at)
			}
		}, []int{1, 3}},
		{"architectures that always count", func(e *example) []bounds {
			if !free(e) || e.asksForOthers(e.names()) {
				return nil
			}
			there := e.architectures(e.settled.Nodes, anyNode)
			scaled := slices.DeleteFunc(e.bySpec(), func(arch string) bool { return !slices.Contains(e.always, arch) })
			return []bounds{{e.allAlways.Architectures(&e.pod.Spec, Architectures()), there, slices.Concat(there, scaled)}}
		}, []int{0, 1, 2, 3}},
		{"nodes that are not known", func(e *example) []bounds {
			if !free(e) {
				return nil
			}
			isKnown := func(n *corev1.Node) bool { return slices.Contains(e.known, n.Name) }
			expected := func(n *corev1.Node) bool {
				return isKnown(n) || labelled(n) && (len(e.known) == 0 || slices.Contains(e.asks(), n.Name) ||
					slices.Contains(e.always, n.Labels[archLabel]))
			}
			most := e.architectures(e.settled.Nodes, isKnown)
			for _, arch := range e.bySpec() {
				if len(e.known) == 0 || e.asksForOthers(e.known) || slices.Contains(e.always, arch) {
					most = append(most, arch)
				}
			}
			return []bounds{{e.some.Architectures(&e.pod.Spec, Architectures()), e.architectures(e.settled.Nodes, expected), most}}
		}, []int{0, 1, 2, 3}},
		{"the spec alone", func(e *example) []bounds {
			return []bounds{{e.bySpec(), e.architectures(e.settled.Nodes, labelled), Architectures()}}
		}, []int{0, 1, 2, 3}},
		{"a DaemonSet", func(e *example) []bounds {
			got := e.all.Architectures(&e.pod.Spec, Architectures())
			now, settled := slices.Collect(maps.Keys(e.now.Daemons)), slices.Collect(maps.Keys(e.settled.Daemons))
			most := e.architectures(settled, anyNode)
			if !free(e) || e.asksForOthers(e.names()) {
				most = Architectures()
			}
			return []bounds{{got, e.architectures(slices.Concat(now, settled), anyNode), most}}
		}, []int{0, 1, 2, 3}},
		{"a DaemonSet's Pods", func(e *example) []bounds {
			var all []bounds
			for _, daemons := range []podAnswer{e.now, e.settled} {
				for name, pod := range daemons.Daemons {
					if !pod.Scheduled {
						continue
					}
					for _, nodes := range []*placement.Nodes{e.all, e.allAlways} {
						all = append(all, exactly(nodes.Architectures(&pod.Spec, Architectures()), e.architectures([]string{name}, anyNode))...)
					}
				}
			}
			return all
		}, []int{1, 3}},
	}
}
