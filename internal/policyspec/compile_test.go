package policyspec

import (
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
)

func TestCompileErrorsNameTheField(t *testing.T) {
	broken := v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{{Key: "a", Operator: "Near"}}}
	if _, err := CompileCluster(&v1alpha1.ClusterCapsetPolicy{Spec: v1alpha1.ClusterCapsetPolicySpec{NamespaceSelector: broken}}); err == nil || err.Error() != `spec.namespaceSelector: "Near" is not a valid label selector operator` {
		t.Errorf("got %v", err)
	}
	if _, err := CompileNamespaced(&v1alpha1.CapsetPolicy{Spec: v1alpha1.CapsetPolicySpec{PodSelector: broken}}); err == nil || err.Error() != `spec.podSelector: "Near" is not a valid label selector operator` {
		t.Errorf("got %v", err)
	}
}
