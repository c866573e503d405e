package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/capvet/capvet/internal/placement"
)

// NodeIndex is a NodeSource that follows the cluster's nodes.
type NodeIndex struct {
	nodes  *placement.Nodes
	synced toolscache.InformerSynced
}

var _ NodeSource = (*NodeIndex)(nil)

// NewNodeIndex starts to follow nodes through c. Architectures (GOARCH names)
// always count as there, see placement.NewNodes.
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

// Synced reports whether all nodes that were there at the start are known.
func (x *NodeIndex) Synced() bool { return x.synced() }

// Architectures implements NodeSource. Some of the nodes would rule out what
// others allow, so until all are known none is looked at.
func (x *NodeIndex) Architectures(spec *corev1.PodSpec, candidates []string) []string {
	if !x.Synced() {
		return placement.Architectures(spec, candidates)
	}
	return x.nodes.Architectures(spec, candidates)
}
