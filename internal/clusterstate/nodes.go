package clusterstate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/capvet/capvet/internal/placement"
)

// NodeIndex holds the nodes of a cluster.
type NodeIndex struct {
	nodes  *placement.Nodes
	synced toolscache.InformerSynced
}

// NewNodeIndex returns an index of the nodes in c, which it starts to follow.
// Pods can land on the architectures always (GOARCH names) whether or not a node
// has them, see placement.NewNodes.
func NewNodeIndex(ctx context.Context, c cache.Cache, always []string) (*NodeIndex, error) {
	x := &NodeIndex{nodes: placement.NewNodes(always...)}
	informer, err := c.GetInformer(ctx, &corev1.Node{})
	if err != nil {
		return nil, fmt.Errorf("watching nodes: %w", err)
	}
	set := func(object any) {
		if node, ok := object.(*corev1.Node); ok {
			x.nodes.Set(node)
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, current any) { set(current) },
		DeleteFunc: func(object any) {
			if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = tombstone.Obj
			}
			if node, ok := object.(*corev1.Node); ok {
				x.nodes.Remove(node.Name)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watching nodes: %w", err)
	}
	x.synced = registration.HasSynced
	return x, nil
}

// Synced reports whether the index holds all nodes that existed at the start.
func (x *NodeIndex) Synced() bool { return x.synced() }

// Architectures implements admission.NodeSource. A part of the nodes would rule
// out architectures that other nodes have, so until the index is synced only the
// Pod's spec counts.
func (x *NodeIndex) Architectures(spec *corev1.PodSpec, candidates []string) []string {
	if !x.Synced() {
		return placement.Architectures(spec, candidates)
	}
	return x.nodes.Architectures(spec, candidates)
}
