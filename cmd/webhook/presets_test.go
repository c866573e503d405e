package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/capvet/capvet/internal/policy"
)

const twoPresets = `
apiVersion: capvet.dev/v1alpha1
kind: ClusterCapsetPolicy
metadata: {name: warn}
spec:
  namespaceSelector: {matchLabels: {capvet.dev/mode: warn}}
  action: Warn
---
apiVersion: capvet.dev/v1alpha1
kind: ClusterCapsetPolicy
metadata: {name: reject}
spec:
  namespaceSelector: {matchLabels: {capvet.dev/mode: reject}}
  action: Reject
---
`

type noPolicies struct{}

func (noPolicies) Holding(context.Context, string) ([]policy.Policy, []string, error) {
	return nil, []string{"a broken one"}, nil
}

func TestPresets(t *testing.T) {
	policies, err := parsePresets([]byte(twoPresets))
	if err != nil {
		t.Fatal(err)
	}
	namespace := func(name, mode string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"capvet.dev/mode": mode}}}
	}
	cached := fake.NewClientBuilder().WithObjects(namespace("shop", "warn"), namespace("plain", "")).Build()
	live := fake.NewClientBuilder().WithObjects(namespace("new", "reject")).Build()
	p := &presets{next: noPolicies{}, policies: policies, namespaces: cached, live: live}
	for name, want := range map[string][]string{"shop": {"preset warn"}, "plain": nil, "new": {"preset reject"}} {
		matching, broken, err := p.Holding(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range matching {
			got = append(got, m.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" || len(broken) != 1 {
			t.Errorf("%s: %s, broken %q", name, diff, broken)
		}
	}
	if _, _, err := p.Holding(t.Context(), "nowhere"); err == nil {
		t.Error("a namespace that does not exist has policies")
	}
}

func TestPresetsAreValidated(t *testing.T) {
	for name, tt := range map[string]struct{ edit, with, want string }{
		"an unknown field":  {"action: Warn", "actoin: Warn", "actoin"},
		"an unknown action": {"action: Warn", "action: Explode", "spec.action"},
		"another case":      {"action: Warn", "Action: Warn", `unknown field "spec.Action"`},
		"twice":             {"action: Warn", "action: Warn\n  action: Audit", `key "action" already set`},
		"unknown images":    {"action: Warn", "images: Some", "spec.images"},
		"unknown workloads": {"action: Warn", "workloads: reject", "spec.workloads"},
		"a useless pattern": {"action: Warn", "exemptions: [{images: [haproxy], reason: r}]", "spec.exemptions[0].images[0]"},
		"another kind":      {"ClusterCapsetPolicy", "CapsetPolicy", "has to be a ClusterCapsetPolicy"},
		"no name":           {"name: warn", "labels: {}", "has to be a ClusterCapsetPolicy"},
		"a broken selector": {"{matchLabels: {capvet.dev/mode: warn}}", "{matchExpressions: [{key: a, operator: Near}]}", "Near"},
		"no YAML":           {"kind: ", "kind", "yaml"},
	} {
		_, err := parsePresets([]byte(strings.Replace(twoPresets, tt.edit, tt.with, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "policy 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
