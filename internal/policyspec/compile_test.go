package policyspec

import (
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
)

func TestCompileErrorsNameTheField(t *testing.T) {
	broken := v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelRequirement{{Key: "a", Operator: "Near"}}}
	const wrong = `: "Near" is not a valid label selector operator`
	cluster := &v1alpha1.ClusterCapsetPolicy{Spec: v1alpha1.ClusterCapsetPolicySpec{NamespaceSelector: broken}}
	if _, err := CompileCluster(cluster); err == nil || err.Error() != "spec.namespaceSelector"+wrong {
		t.Errorf("got %v", err)
	}
	own := &v1alpha1.CapsetPolicy{Spec: v1alpha1.CapsetPolicySpec{PodSelector: broken}}
	if _, err := CompileNamespaced(own); err == nil || err.Error() != "spec.podSelector"+wrong {
		t.Errorf("got %v", err)
	}
}
