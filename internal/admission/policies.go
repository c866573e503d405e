package admission

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
)

// PolicyIndex is a PolicySource that follows the cluster's policies and
// namespaces. Each policy is compiled once, when it changes.
type PolicyIndex struct {
	namespaces client.Reader // cached
	live       client.Reader // for a namespace too new for the cache
	synced     []toolscache.InformerSynced

	mu       sync.RWMutex
	policies map[string]compiled // by kind and namespace/name
	// held are the policies of namespaces that were asked for since the last
	// change of a policy, so that a request costs the same however many there are.
	held map[string]held
}

// maxHeld is for how many namespaces it is remembered what holds there: more than
// any cluster has, but those come and go.
const maxHeld = 20_000

// held is what holds in a namespace with these labels, whatever the Pod: sorted
// by name, and not to be changed, since many requests share it.
type held struct {
	labels   labels.Set
	policies []policy.Policy
	broken   []string
}

type compiled struct {
	namespace string // empty: cluster-scoped
	policy    policy.Policy
	broken    string // why it cannot be applied; empty: it can
}

// NewPolicyIndex starts to follow policies and namespaces through c. live reads
// from the API server itself.
func NewPolicyIndex(ctx context.Context, c cache.Cache, live client.Reader) (*PolicyIndex, error) {
	x := &PolicyIndex{namespaces: c, live: live, policies: map[string]compiled{}, held: map[string]held{}}
	for _, object := range []client.Object{&v1alpha1.ClusterCapsetPolicy{}, &v1alpha1.CapsetPolicy{}} {
		informer, err := c.GetInformer(ctx, object)
		if err != nil {
			return nil, fmt.Errorf("watching %T: %w", object, err)
		}
		registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    x.set,
			UpdateFunc: func(_, current any) { x.set(current) },
			DeleteFunc: x.remove,
		})
		if err != nil {
			return nil, fmt.Errorf("watching %T: %w", object, err)
		}
		x.synced = append(x.synced, registration.HasSynced)
	}
	informer, err := c.GetInformer(ctx, &corev1.Namespace{})
	if err != nil {
		return nil, fmt.Errorf("watching namespaces: %w", err)
	}
	x.synced = append(x.synced, informer.HasSynced)
	return x, nil
}

// Synced reports whether all that was there at the start is known.
func (x *PolicyIndex) Synced() bool {
	for _, synced := range x.synced {
		if !synced() {
			return false
		}
	}
	return true
}

func (x *PolicyIndex) set(object any) {
	var entry compiled
	var err error
	switch p := object.(type) {
	case *v1alpha1.ClusterCapsetPolicy:
		entry.policy, err = policyspec.CompileCluster(p)
	case *v1alpha1.CapsetPolicy:
		entry.namespace = p.Namespace
		entry.policy, err = policyspec.CompileNamespaced(p)
	default:
		return
	}
	key := keyOf(object)
	if err != nil {
		entry.broken = fmt.Sprintf("%s is not applied, because it is broken: %v", key, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.policies[key] = entry
	clear(x.held)
}

func (x *PolicyIndex) remove(object any) {
	if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.policies, keyOf(object))
	clear(x.held)
}

// keyOf names a policy object as policy.Policy does.
func keyOf(object any) string {
	switch p := object.(type) {
	case *v1alpha1.ClusterCapsetPolicy:
		return "ClusterCapsetPolicy/" + p.Name
	case *v1alpha1.CapsetPolicy:
		return "CapsetPolicy/" + p.Namespace + "/" + p.Name
	}
	return ""
}

// Holding implements PolicySource.
func (x *PolicyIndex) Holding(ctx context.Context, namespace string) ([]policy.Policy, []string, error) {
	if !x.Synced() {
		return nil, nil, errors.New("the policies are not all known yet")
	}
	namespaceLabels, err := x.namespaceLabels(ctx, namespace)
	if err != nil {
		return nil, nil, err
	}
	h := x.holding(namespace, namespaceLabels)
	return h.policies, h.broken, nil
}

// holding returns what holds in a namespace.
func (x *PolicyIndex) holding(namespace string, namespaceLabels labels.Set) held {
	x.mu.RLock()
	h, known := x.held[namespace]
	x.mu.RUnlock()
	if known && maps.Equal(h.labels, namespaceLabels) {
		return h
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	h = held{labels: namespaceLabels}
	for _, entry := range x.policies {
		switch {
		case entry.namespace != "" && entry.namespace != namespace:
		case entry.broken != "":
			h.broken = append(h.broken, entry.broken)
		case entry.policy.MatchesNamespace(namespaceLabels):
			h.policies = append(h.policies, entry.policy)
		}
	}
	slices.Sort(h.broken)
	slices.SortFunc(h.policies, policy.Compare)
	if len(x.held) >= maxHeld {
		clear(x.held)
	}
	x.held[namespace] = h
	return h
}

// InNamespace implements ClusterPolicySource.
func (x *PolicyIndex) InNamespace(namespace labels.Set) ([]policy.Policy, error) {
	if !x.Synced() {
		return nil, errors.New("the policies are not all known yet")
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	var matching []policy.Policy
	for _, entry := range x.policies {
		if entry.namespace == "" && entry.broken == "" && entry.policy.MatchesNamespace(namespace) {
			matching = append(matching, entry.policy)
		}
	}
	return matching, nil
}

// namespaceLabels reads the labels of a namespace, from the API server itself
// when the cache does not have it yet.
func (x *PolicyIndex) namespaceLabels(ctx context.Context, name string) (labels.Set, error) {
	namespace := &corev1.Namespace{}
	err := x.namespaces.Get(ctx, client.ObjectKey{Name: name}, namespace)
	if apierrors.IsNotFound(err) {
		err = x.live.Get(ctx, client.ObjectKey{Name: name}, namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading namespace %q: %w", name, err)
	}
	return labels.Set(namespace.Labels), nil
}
