package clusterstate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	var err error
	x.synced, err = follow(ctx, c, &corev1.Node{}, x.nodes.Set, func(node *corev1.Node) { x.nodes.Remove(node.Name) })
	return x, err
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

// follow calls set for each object of a kind in c, at once and after a change, and remove
// for each deleted one.
func follow[T client.Object](ctx context.Context, c cache.Cache, kind T, set, remove func(T)) (toolscache.InformerSynced, error) {
	informer, err := c.GetInformer(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("watching %T: %w", kind, err)
	}
	with := func(call func(T)) func(any) {
		return func(object any) {
			if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = tombstone.Obj
			}
			if typed, ok := object.(T); ok {
				call(typed)
			}
		}
	}
	changed := with(set)
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    changed,
		UpdateFunc: func(_, current any) { changed(current) },
		DeleteFunc: with(remove),
	})
	if err != nil {
		return nil, fmt.Errorf("watching %T: %w", kind, err)
	}
	return registration.HasSynced, nil
}
