package policystatus

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
)

var now = time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC)

func TestStatus(t *testing.T) {
	namespaces := []corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"env": "prod"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "b", Labels: map[string]string{"env": "dev"}}},
	}
	expired := metav1.NewTime(now)
	exempting := v1alpha1.CapsetPolicySpec{
		Exemptions: []v1alpha1.Exemption{{Images: []string{"a"}, Expires: &expired}, {Images: []string{"b"}}},
	}
	env := func(value v1alpha1.LabelValue) v1alpha1.LabelSelector {
		return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"env": value}}
	}
	broken := v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{{Key: "a", Operator: "Near"}}}
	for _, tt := range []struct {
		name    string
		spec    v1alpha1.ClusterCapsetPolicySpec
		matched int32
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{
			name: "all", matched: 2,
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonApplied, message: "applied",
		},
		{
			name: "some", spec: v1alpha1.ClusterCapsetPolicySpec{NamespaceSelector: env("prod")}, matched: 1,
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonApplied, message: "applied",
		},
		{
			name: "none", spec: v1alpha1.ClusterCapsetPolicySpec{NamespaceSelector: env("test")}, matched: 0,
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonNoNamespace,
			message: "applied, but no namespace matches spec.namespaceSelector",
		},
		{
			name: "expired", spec: v1alpha1.ClusterCapsetPolicySpec{CapsetPolicySpec: exempting}, matched: 2,
			status: metav1.ConditionTrue, reason: v1alpha1.ReasonApplied,
			message: "applied; 1 of 2 exemptions have expired and no longer apply",
		},
		{
			name: "broken", spec: v1alpha1.ClusterCapsetPolicySpec{NamespaceSelector: broken}, matched: 0,
			status: metav1.ConditionFalse, reason: v1alpha1.ReasonBroken,
			message: `not applied: spec.namespaceSelector: "Near" is not a valid label selector operator`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Generation: 7}, Spec: tt.spec}
			want := v1alpha1.ClusterCapsetPolicyStatus{MatchedNamespaces: &tt.matched, CapsetPolicyStatus: v1alpha1.CapsetPolicyStatus{
				ObservedGeneration: 7,
				Conditions: []metav1.Condition{{Type: "Ready", Status: tt.status, Reason: tt.reason, Message: tt.message,
					ObservedGeneration: 7, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second))}},
			}}
			p.Status = OfClusterPolicy(p, namespaces, now)
			if diff := cmp.Diff(want, p.Status); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			// Later the status is equal, so that it is not written again.
			if diff := cmp.Diff(want, OfClusterPolicy(p, namespaces, now.Add(time.Hour))); diff != "" {
				t.Errorf("an hour later (-want +got):\n%s", diff)
			}
		})
	}
	long := &v1alpha1.CapsetPolicy{Spec: v1alpha1.CapsetPolicySpec{PodSelector: env(v1alpha1.LabelValue(strings.Repeat("ä", 40_000)))}}
	if message := OfPolicy(long, nil, now).Conditions[0].Message; len(message) > 2*maxMessage || !utf8.ValidString(message) ||
		!strings.HasPrefix(message, "not applied: spec.podSelector.matchLabels: ") {
		t.Errorf("a message of %d bytes: %.100s", len(message), message)
	}
	own := &v1alpha1.CapsetPolicy{Spec: v1alpha1.CapsetPolicySpec{PodSelector: broken}}
	own.Status = OfPolicy(own, nil, now)
	own.Spec.PodSelector = v1alpha1.LabelSelector{}
	later := now.Add(time.Hour)
	mended := OfPolicy(own, nil, later)
	if own.Status.Conditions[0].Status != metav1.ConditionFalse || mended.Conditions[0].Status != metav1.ConditionTrue ||
		!mended.Conditions[0].LastTransitionTime.Time.Equal(later.Truncate(time.Second)) {
		t.Errorf("broken %+v, mended %+v", own.Status, mended)
	}
}

// TestStatusOfBudget: a policy beyond its namespace's budget is broken, those before it and
// in other namespaces are not.
func TestStatusOfBudget(t *testing.T) {
	var policies []v1alpha1.CapsetPolicy
	for _, namespace := range []string{"shop", "team"} {
		for i := range 32 {
			policies = append(policies, v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%02d", i), Namespace: namespace}})
		}
	}
	policies = append(policies, v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p99", Namespace: "shop"}})
	over := overBudget(policies)
	for i := range policies {
		p := &policies[i]
		ready := OfPolicy(p, over[client.ObjectKeyFromObject(p)], now).Conditions[0]
		if broken := ready.Reason == v1alpha1.ReasonBroken; broken != (p.Name == "p99") {
			t.Errorf("%s/%s: %s: %s", p.Namespace, p.Name, ready.Reason, ready.Message)
		}
		if p.Name == "p99" && !strings.HasPrefix(ready.Message, "not applied: it is number 33 of the namespace's policies by age") {
			t.Errorf("the message is %q", ready.Message)
		}
	}
}
