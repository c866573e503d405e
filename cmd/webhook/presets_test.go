package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
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

func TestPresets(t *testing.T) {
	policies, err := parsePresets([]byte(twoPresets))
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[string][]string{"warn": {"preset warn"}, "reject": {"preset reject"}, "": nil} {
		var got []string
		for _, p := range policies {
			if p.Namespaces.Matches(labels.Set{"capvet.dev/mode": mode}) {
				got = append(got, p.Name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("mode %q (-want +got):\n%s", mode, diff)
		}
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
		"another kind":      {"ClusterCapsetPolicy", "CapsetPolicy", "give a ClusterCapsetPolicy"},
		"no name":           {"name: warn", "labels: {}", "give a ClusterCapsetPolicy"},
		"a broken selector": {"{matchLabels: {capvet.dev/mode: warn}}", "{matchExpressions: [{key: a, operator: Near}]}", "Near"},
		"no YAML":           {"kind: ", "kind", "yaml"},
	} {
		_, err := parsePresets([]byte(strings.Replace(twoPresets, tt.edit, tt.with, 1)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "policy 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
