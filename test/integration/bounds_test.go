//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
)

// TestPolicyBounds: the API server admits a policy at the bounds over several fields, and
// refuses one beyond them.
func TestPolicyBounds(t *testing.T) {
	ns := namespace(t, nil)
	exempting := func(exemptions int, reason string) v1alpha1.CapsetPolicySpec {
		e := v1alpha1.Exemption{Images: slices.Repeat([]string{"**" + strings.Repeat("x", 13)}, 16), Reason: reason}
		return v1alpha1.CapsetPolicySpec{Exemptions: slices.Repeat([]v1alpha1.Exemption{e}, exemptions)}
	}
	requiring := func(n, values int) v1alpha1.CapsetPolicySpec {
		r := v1alpha1.LabelRequirement{Key: "k", Operator: "In", Values: slices.Repeat([]v1alpha1.LabelValue{"v"}, values)}
		return v1alpha1.CapsetPolicySpec{PodSelector: v1alpha1.LabelSelector{MatchExpressions: slices.Repeat([]v1alpha1.LabelRequirement{r}, n)}}
	}
	labelled := func(key string, n int) v1alpha1.CapsetPolicySpec {
		labels := map[string]v1alpha1.LabelValue{}
		for i := range n {
			labels[fmt.Sprintf("%s%d", key, i)] = "v"
		}
		return v1alpha1.CapsetPolicySpec{PodSelector: v1alpha1.LabelSelector{MatchLabels: labels}}
	}
	domain := strings.Repeat("d", 313)
	for name, tt := range map[string]struct {
		spec    v1alpha1.CapsetPolicySpec
		refused string
	}{
		"exemptions":            {exempting(64, strings.Repeat("r", 16)), ""},
		"text-of-exemptions":    {exempting(64, strings.Repeat("r", 17)), "patterns and reasons have more than 16384 characters"},
		"more-exemptions":       {exempting(65, "r"), "spec.exemptions"},
		"values":                {requiring(16, 16), ""},
		"values-of-expressions": {requiring(16, 17), "the requirements have more than 256 values"},
		"more-expressions":      {requiring(17, 1), "spec.podSelector.matchExpressions"},
		"labels":                {labelled(domain+"/ab", 1), ""},
		"longer-labels":         {labelled(domain+"/abc", 1), "a label key has at most 317 characters"},
		"more-labels":           {labelled("k", 17), "spec.podSelector.matchLabels"},
	} {
		err := shared.Client.Create(ctx, &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: tt.spec})
		if tt.refused == "" && err != nil || tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.refused)
		}
	}
}
