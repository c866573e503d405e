package clusterstate

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
)

// fakeCache is a cache of the objects that a test gives it. It informs the handlers
// of their kind.
type fakeCache struct {
	cache.Cache
	namespaces map[string]*corev1.Namespace
	handlers   map[string][]toolscache.ResourceEventHandler // by type
}

func newFakeCache() *fakeCache {
	return &fakeCache{namespaces: map[string]*corev1.Namespace{}, handlers: map[string][]toolscache.ResourceEventHandler{}}
}

type fakeInformer struct {
	cache.Informer
	add func(toolscache.ResourceEventHandler)
}

type fakeRegistration struct {
	toolscache.ResourceEventHandlerRegistration
}

func (fakeRegistration) HasSynced() bool { return true }
func (fakeInformer) HasSynced() bool     { return true }

func (i fakeInformer) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.add(h)
	return fakeRegistration{}, nil
}

func (c *fakeCache) GetInformer(_ context.Context, object client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	kind := fmt.Sprintf("%T", object)
	return fakeInformer{add: func(h toolscache.ResourceEventHandler) { c.handlers[kind] = append(c.handlers[kind], h) }}, nil
}

func (c *fakeCache) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	known, ok := c.namespaces[key.Name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, key.Name)
	}
	*object.(*corev1.Namespace) = *known
	return nil
}

func (c *fakeCache) namespace(name string, l map[string]string) {
	l = labels.Merge(l, labels.Set{"kubernetes.io/metadata.name": name})
	c.namespaces[name] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: l}}
}

func (c *fakeCache) tell(object client.Object, tell func(toolscache.ResourceEventHandler)) {
	for _, h := range c.handlers[fmt.Sprintf("%T", object)] {
		tell(h)
	}
}

func (c *fakeCache) add(object client.Object) {
	c.tell(object, func(h toolscache.ResourceEventHandler) { h.OnAdd(object, false) })
}

func (c *fakeCache) remove(object client.Object) {
	c.tell(object, func(h toolscache.ResourceEventHandler) {
		h.OnDelete(toolscache.DeletedFinalStateUnknown{Key: object.GetName(), Obj: object})
	})
}

// TestPolicyIndex: a change of a policy or a namespace takes effect at once, though
// the policies of a namespace are cached.
func TestPolicyIndex(t *testing.T) {
	c := newFakeCache()
	x, err := NewPolicyIndex(t.Context(), c, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.namespace("shop", nil)
	c.namespace("team", nil)
	want := func(step, namespace string, pod labels.Set, want ...string) {
		t.Helper()
		for range 2 { // the second time from the cache
			applied, broken, err := x.PoliciesFor(t.Context(), namespace)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, p := range policy.ForPod(applied, pod) {
				got = append(got, p.Name)
			}
			if diff := cmp.Diff(append([]string{}, want...), append(got, broken...)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step, diff)
			}
		}
	}
	prod := clusterPolicy("prod", "env", "prod")
	own := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: "shop"}, Spec: v1alpha1.CapsetPolicySpec{
		PodSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "lb"}}}}
	lb := labels.Set{"app": "lb"}
	want("nothing", "shop", lb)
	c.add(prod)
	want("not selected", "shop", lb)
	c.namespace("shop", map[string]string{"env": "prod"})
	want("the namespace is labelled", "shop", lb, "ClusterCapsetPolicy/prod")
	c.add(own)
	want("its own policy", "shop", lb, "CapsetPolicy/shop/own", "ClusterCapsetPolicy/prod")
	want("for some Pods", "shop", nil, "ClusterCapsetPolicy/prod")
	want("elsewhere", "team", lb)
	broken := own.DeepCopy()
	broken.Spec.PodSelector = v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{{Key: "a", Operator: "Near"}}}
	c.add(broken)
	want("broken", "shop", lb, "ClusterCapsetPolicy/prod",
		`CapsetPolicy/shop/own is not applied, because it is broken: spec.podSelector: "Near" is not a valid label selector operator`)
	c.remove(broken)
	c.remove(prod)
	want("removed", "shop", lb)
	if _, _, err := x.PoliciesFor(t.Context(), "nowhere"); err == nil {
		t.Error("a namespace that does not exist has policies")
	}
}

// TestPresets: presets apply in namespaces that the cache or only the API server
// knows, beside the cluster's policies, and no change of those removes them.
func TestPresets(t *testing.T) {
	preset := func(name string) policy.Policy {
		p, err := policyspec.CompileCluster(clusterPolicy(name, v1alpha1.LabelMode, name))
		if err != nil {
			t.Fatal(err)
		}
		p.Name = "preset " + name
		return p
	}
	c, live := newFakeCache(), newFakeCache()
	x, err := NewPolicyIndex(t.Context(), c, live, []policy.Policy{preset("warn"), preset("reject")})
	if err != nil {
		t.Fatal(err)
	}
	c.namespace("shop", map[string]string{v1alpha1.LabelMode: "warn"})
	c.namespace("plain", nil)
	live.namespace("new", map[string]string{v1alpha1.LabelMode: "reject"})
	check := func(step string, want map[string][]string) {
		t.Helper()
		for namespace, want := range want {
			applied, broken, err := x.PoliciesFor(t.Context(), namespace)
			if diff := cmp.Diff(want, names(applied)); diff != "" || len(broken) > 0 || err != nil {
				t.Errorf("%s, %s: broken %q, %v (-want +got):\n%s", step, namespace, broken, err, diff)
			}
		}
		applied, err := x.ClusterPoliciesFor(labels.Set{v1alpha1.LabelMode: "warn"})
		if diff := cmp.Diff(want["shop"], names(applied)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", step, err, diff)
		}
	}
	before := map[string][]string{"shop": {"preset warn"}, "plain": nil, "new": {"preset reject"}}
	check("presets", before)
	own := clusterPolicy("warn", v1alpha1.LabelMode, "warn")
	c.add(own)
	check("a policy of the same name", map[string][]string{
		"shop": {"ClusterCapsetPolicy/warn", "preset warn"}, "plain": nil, "new": {"preset reject"}})
	c.remove(own)
	check("without it", before)
	if _, _, err := x.PoliciesFor(t.Context(), "nowhere"); err == nil {
		t.Error("a namespace that does not exist has policies")
	}
}

func clusterPolicy(name, label, value string) *v1alpha1.ClusterCapsetPolicy {
	return &v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterCapsetPolicySpec{
		NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{label: v1alpha1.LabelValue(value)}}}}
}

// names returns the names of policies, sorted.
func names(policies []policy.Policy) []string {
	var names []string
	for i := range policies {
		names = append(names, policies[i].Name)
	}
	slices.Sort(names)
	return names
}
