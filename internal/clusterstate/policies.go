// Package clusterstate follows a cluster's policies, namespaces and nodes through
// informers, and answers from memory which policies apply in a namespace and on
// which architectures a Pod can land.
//
// It does not judge, and does not write to the cluster. Its objects are any that
// an API server accepted; a policy that does not compile is reported as broken.
package clusterstate

import (
	"cmp"
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

// PolicyIndex holds the compiled policies of a cluster, and the presets of its
// installation. A policy is compiled once, when it changes.
type PolicyIndex struct {
	namespaces client.Reader // cached
	live       client.Reader // for a namespace that is too new for the cache
	presets    []policy.Policy
	synced     []toolscache.InformerSynced

	mu       sync.RWMutex
	policies map[string]map[string]compiled // by namespace and name, cluster-scoped ones under ""
	// applicable caches the policies of namespaces until one of theirs changes, so
	// that the cost of a request does not depend on the number of policies.
	applicable map[string]applicable
}

// maxApplicable bounds the cached namespaces. It is more than any cluster has at
// one time; deleted namespaces stay in the cache until a policy changes.
const maxApplicable = 20_000

// applicable holds the policies of a namespace with these labels, sorted by name.
// Requests share it, so it is never changed.
type applicable struct {
	labels   labels.Set
	policies []policy.Policy
	broken   []string
}

// maxBrokenOwn bounds the warnings about broken policies of a namespace's own: each of its
// reviews brings them.
const maxBrokenOwn = 8

type compiled struct {
	policy policy.Policy
	broken error            // the reason why it cannot be applied
	share  policyspec.Share // of the namespace's budget
}

// NewPolicyIndex returns an index of the presets, which never change, and of the
// policies in c, which it starts to follow together with the namespaces. live
// reads from the API server itself.
func NewPolicyIndex(ctx context.Context, c cache.Cache, live client.Reader, presets []policy.Policy) (*PolicyIndex, error) {
	x := &PolicyIndex{namespaces: c, live: live, presets: presets,
		policies: map[string]map[string]compiled{}, applicable: map[string]applicable{}}
	for _, object := range []client.Object{&v1alpha1.ClusterCapsetPolicy{}, &v1alpha1.CapsetPolicy{}} {
		synced, err := follow(ctx, c, object, x.set, x.remove)
		if err != nil {
			return nil, err
		}
		x.synced = append(x.synced, synced)
	}
	informer, err := c.GetInformer(ctx, &corev1.Namespace{})
	if err != nil {
		return nil, fmt.Errorf("watching namespaces: %w", err)
	}
	x.synced = append(x.synced, informer.HasSynced)
	return x, nil
}

// Synced reports whether the index holds all policies and namespaces that existed
// at the start.
func (x *PolicyIndex) Synced() bool {
	return !slices.ContainsFunc(x.synced, func(synced toolscache.InformerSynced) bool { return !synced() })
}

func (x *PolicyIndex) set(object client.Object) {
	var entry compiled
	switch p := object.(type) {
	case *v1alpha1.ClusterCapsetPolicy:
		entry.policy, entry.broken = policyspec.CompileCluster(p)
	case *v1alpha1.CapsetPolicy:
		entry.policy, entry.broken = policyspec.CompileNamespaced(p)
		entry.share = policyspec.ShareOf(keyOf(p), p)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	namespace := object.GetNamespace()
	if x.policies[namespace] == nil {
		x.policies[namespace] = map[string]compiled{}
	}
	x.policies[namespace][keyOf(object)] = entry
	x.forget(namespace)
}

func (x *PolicyIndex) remove(object client.Object) {
	x.mu.Lock()
	defer x.mu.Unlock()
	namespace := object.GetNamespace()
	delete(x.policies[namespace], keyOf(object))
	if len(x.policies[namespace]) == 0 {
		delete(x.policies, namespace)
	}
	x.forget(namespace)
}

// forget removes from the cache of applicable policies all that a policy of that namespace
// affects.
func (x *PolicyIndex) forget(namespace string) {
	if namespace == "" {
		clear(x.applicable)
		return
	}
	delete(x.applicable, namespace)
}

// keyOf returns the name of a policy object as in policy.Policy.
func keyOf(object client.Object) string {
	if object.GetNamespace() == "" {
		return "ClusterCapsetPolicy/" + object.GetName()
	}
	return "CapsetPolicy/" + object.GetNamespace() + "/" + object.GetName()
}

// PoliciesFor implements admission.PolicySource.
func (x *PolicyIndex) PoliciesFor(ctx context.Context, namespace string) ([]policy.Policy, []string, error) {
	if !x.Synced() {
		return nil, nil, errNotSynced
	}
	namespaceLabels, err := x.namespaceLabels(ctx, namespace)
	if err != nil {
		return nil, nil, err
	}
	a := x.applicableIn(namespace, namespaceLabels)
	return a.policies, a.broken, nil
}

// ClusterPoliciesFor implements admission.ClusterPolicySource.
func (x *PolicyIndex) ClusterPoliciesFor(namespace labels.Set) ([]policy.Policy, error) {
	if !x.Synced() {
		return nil, errNotSynced
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	matching := x.presetsFor(namespace)
	for _, entry := range x.policies[""] {
		if entry.broken == nil && entry.policy.Namespaces.Matches(namespace) {
			matching = append(matching, entry.policy)
		}
	}
	return matching, nil
}

var errNotSynced = errors.New("the policies are not all known yet")

// applicableIn returns the policies of a namespace with these labels.
func (x *PolicyIndex) applicableIn(namespace string, namespaceLabels labels.Set) applicable {
	x.mu.RLock()
	a, cached := x.applicable[namespace]
	x.mu.RUnlock()
	if cached && maps.Equal(a.labels, namespaceLabels) {
		return a
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	a = applicable{labels: namespaceLabels, policies: x.presetsFor(namespaceLabels)}
	for key, entry := range x.policies[""] {
		switch {
		case entry.broken != nil:
			a.broken = append(a.broken, brokenWarning(key, entry.broken))
		case entry.policy.Namespaces.Matches(namespaceLabels):
			a.policies = append(a.policies, entry.policy)
		}
	}
	slices.Sort(a.broken)
	own, broken := x.ownOf(namespace)
	a.policies, a.broken = append(a.policies, own...), append(a.broken, broken...)
	slices.SortFunc(a.policies, policy.Compare)
	if len(x.applicable) >= maxApplicable {
		clear(x.applicable)
	}
	x.applicable[namespace] = a
	return a
}

// ownOf returns the policies of a namespace's own, and warnings about those that are broken
// or exceed the namespace's budget.
func (x *PolicyIndex) ownOf(namespace string) (policies []policy.Policy, broken []string) {
	var shares []policyspec.Share
	for _, entry := range x.policies[namespace] {
		if entry.broken == nil {
			shares = append(shares, entry.share)
		}
	}
	over := policyspec.OverBudget(shares)
	for _, key := range slices.Sorted(maps.Keys(x.policies[namespace])) {
		entry := x.policies[namespace][key]
		err := cmp.Or(entry.broken, over[key])
		if err == nil {
			policies = append(policies, entry.policy)
			continue
		}
		broken = append(broken, brokenWarning(key, err))
	}
	if more := len(broken) - maxBrokenOwn; more > 0 {
		broken = append(broken[:maxBrokenOwn], fmt.Sprintf("%d more CapsetPolicies of the namespace are broken; see their status", more))
	}
	return policies, broken
}

func brokenWarning(key string, err error) string {
	return fmt.Sprintf("%s is not applied, because it is broken: %v", key, err)
}

func (x *PolicyIndex) presetsFor(namespace labels.Set) []policy.Policy {
	var matching []policy.Policy
	for i := range x.presets {
		if x.presets[i].Namespaces.Matches(namespace) {
			matching = append(matching, x.presets[i])
		}
	}
	return matching
}

// namespaceLabels returns the labels of a namespace, from the API server itself
// if the cache does not have it yet.
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
