package clusterstate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
)

// TestNamespaceBudget: policies beyond their namespace's budget are broken with a bounded
// number of warnings, and neither other policies nor other namespaces are.
func TestNamespaceBudget(t *testing.T) {
	c := newFakeCache()
	x, err := NewPolicyIndex(t.Context(), c, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.namespace("shop", nil)
	c.namespace("team", nil)
	own := func(namespace string, i int, reason string) *v1alpha1.CapsetPolicy {
		created := metav1.NewTime(time.Date(2027, 1, 2, 3, i, 0, 0, time.UTC))
		meta := metav1.ObjectMeta{Name: fmt.Sprintf("p%03d", i), Namespace: namespace, CreationTimestamp: created}
		return &v1alpha1.CapsetPolicy{ObjectMeta: meta,
			Spec: v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{{Images: []string{"**"}, Reason: reason}}}}
	}
	want := func(step, namespace string, policies, broken int, warning string) {
		t.Helper()
		applied, warnings, err := x.PoliciesFor(t.Context(), namespace)
		if err != nil || len(applied) != policies || len(warnings) != broken {
			t.Errorf("%s: %d policies and %d warnings, want %d and %d: %v", step, len(applied), len(warnings), policies, broken, err)
		}
		if warning != "" && !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, warning) }) {
			t.Errorf("%s: no warning has %q: %q", step, warning, warnings)
		}
	}
	broken := clusterPolicy("broken", "a", strings.Repeat("v", 64))
	c.add(broken)
	c.add(clusterPolicy("all", "kubernetes.io/metadata.name", "shop"))
	c.add(own("team", 0, "r"))
	for i := range 60 {
		c.add(own("shop", 59-i, "r"))
	}
	want("60 policies", "shop", 33, 1+maxBrokenOwn+1, "20 more CapsetPolicies of the namespace are broken; see their status")
	want("60 policies", "shop", 33, 1+maxBrokenOwn+1, "CapsetPolicy/shop/p032 is not applied, because it is broken: it is number 33 of")
	want("60 policies", "shop", 33, 1+maxBrokenOwn+1, "ClusterCapsetPolicy/broken is not applied")
	want("another namespace", "team", 1, 1, "")
	for i := range 28 {
		c.remove(own("shop", i, "r"))
	}
	want("fewer", "shop", 33, 1, "")
	c.add(own("shop", 40, strings.Repeat("r", 513)))
	want("one beyond its own bounds", "shop", 32, 2, "spec.exemptions[0].reason: 513 characters, the limit is 512")
	for i := 28; i < 60; i++ {
		c.remove(own("shop", i, "r"))
	}
	if want("removed", "shop", 1, 1, ""); x.policies["shop"] != nil {
		t.Errorf("an empty namespace is kept: %v", x.policies["shop"])
	}
}
