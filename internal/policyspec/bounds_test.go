package policyspec

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
)

// labelled returns n labels with keys and values of the greatest length.
func labelled(n int) map[string]v1alpha1.LabelValue {
	all := map[string]v1alpha1.LabelValue{}
	for i := range n {
		name := fmt.Sprintf("%03d", i)
		all[strings.Repeat("d", maxLabelKey-64)+"/"+strings.Repeat("k", 60)+name] = v1alpha1.LabelValue(strings.Repeat("v", maxLabelValue))
	}
	return all
}

func requiring(n, values int) []v1alpha1.LabelRequirement {
	return slices.Repeat([]v1alpha1.LabelRequirement{{Key: "k", Operator: "In",
		Values: slices.Repeat([]v1alpha1.LabelValue{"v"}, values)}}, n)
}

// exempting returns a spec with as many exemptions, patterns of each, and characters of
// each pattern. The reason has one character.
func exempting(exemptions, patterns, length int) v1alpha1.CapsetPolicySpec {
	e := v1alpha1.Exemption{Images: slices.Repeat([]string{"**" + strings.Repeat("é", length-2)}, patterns), Reason: "r"}
	return v1alpha1.CapsetPolicySpec{Exemptions: slices.Repeat([]v1alpha1.Exemption{e}, exemptions)}
}

// TestBounds: a policy at a bound compiles. One beyond it, which an earlier schema may have
// admitted, is an error with the field, its size and the limit, and without its content.
func TestBounds(t *testing.T) {
	pods := func(s v1alpha1.LabelSelector) v1alpha1.CapsetPolicySpec {
		return v1alpha1.CapsetPolicySpec{PodSelector: s}
	}
	huge := exempting(1, 1, 3<<20)
	huge.Exemptions[0].Reason = strings.Repeat("r", 3<<20)
	for _, tt := range []struct {
		want string
		spec v1alpha1.CapsetPolicySpec
	}{
		{"", exempting(maxExemptions, 1, 2)},
		{"", exempting(1, maxPatterns, 2)},
		{"", exempting(1, 1, maxText)},
		{"", exempting(maxExemptions, 17, 15)},
		{"", pods(v1alpha1.LabelSelector{MatchLabels: labelled(maxLabels), MatchExpressions: requiring(maxLabels, maxValues/maxLabels)})},
		{"spec.exemptions: 65 entries, the limit is 64", exempting(65, 1, 2)},
		{"spec.exemptions[0].images: 65 entries, the limit is 64", exempting(1, 65, 2)},
		{"spec.exemptions[0].images[0]: 513 characters, the limit is 512", exempting(1, 1, 513)},
		{"spec.exemptions[0].reason: 3145728 characters, the limit is 512", huge},
		{"spec.exemptions: patterns and reasons up to spec.exemptions[31] have 16416 characters, the limit for all is 16384",
			exempting(33, 1, 512)},
		{"spec.architectures: 7 entries, the limit is 6",
			v1alpha1.CapsetPolicySpec{Architectures: slices.Repeat([]v1alpha1.Architecture{"arm64"}, 7)}},
		{"spec.podSelector.matchLabels: 17 entries, the limit is 16", pods(v1alpha1.LabelSelector{MatchLabels: labelled(17)})},
		{"spec.podSelector.matchLabels: a key: 318 characters, the limit is 317",
			pods(v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{strings.Repeat("k", 318): ""}})},
		{"spec.podSelector.matchLabels: a value: 64 characters, the limit is 63",
			pods(v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"k": v1alpha1.LabelValue(strings.Repeat("v", 64))}})},
		{"spec.podSelector.matchExpressions: 17 entries, the limit is 16", pods(v1alpha1.LabelSelector{MatchExpressions: requiring(17, 1)})},
		{"spec.podSelector.matchExpressions: 257 values, the limit is 256", pods(v1alpha1.LabelSelector{MatchExpressions: requiring(1, 257)})},
		{"spec.podSelector.matchExpressions: 272 values, the limit is 256", pods(v1alpha1.LabelSelector{MatchExpressions: requiring(16, 17)})},
	} {
		for _, compile := range []func() error{
			func() error {
				_, err := CompileNamespaced(&v1alpha1.CapsetPolicy{Spec: tt.spec})
				return err
			},
			func() error { return Validate(&tt.spec) },
		} {
			err := compile()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("want %q, got %.300v", tt.want, err)
			}
		}
	}
	cluster := &v1alpha1.ClusterCapsetPolicy{}
	cluster.Spec.NamespaceSelector.MatchLabels = labelled(17)
	if _, err := CompileCluster(cluster); err == nil || err.Error() != "spec.namespaceSelector.matchLabels: 17 entries, the limit is 16" {
		t.Errorf("got %v", err)
	}
}

// TestRulesHaveTheBounds: the schema's rules over several fields have the bounds of Validate.
func TestRulesHaveTheBounds(t *testing.T) {
	for _, kind := range []string{"capsetpolicies", "clustercapsetpolicies"} {
		crd, err := os.ReadFile("../../config/crd/bases/capvet.dev_" + kind + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(crd)), " ")
		for _, rule := range []string{
			fmt.Sprintf("self.map(e, size(e.reason) + e.images.map(i, size(i)).sum()).sum() <= %d", maxExemptionText),
			fmt.Sprintf("self.all(k, size(k) <= %d)", maxLabelKey),
			fmt.Sprintf("self.map(r, has(r.values) ? size(r.values) : 0).sum() <= %d", maxValues),
		} {
			if !strings.Contains(text, rule) {
				t.Errorf("%s has no rule %s", kind, rule)
			}
		}
	}
}
