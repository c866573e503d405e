//go:build integration

package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// TestStoredBeyondBounds: policies that an earlier CRD admitted, six of a megabyte, are broken
// in one namespace, with status and warning, and the webhook goes on.
func TestStoredBeyondBounds(t *testing.T) {
	ns := namespace(t, nil)
	crd := &apiextensionsv1.CustomResourceDefinition{}
	change := func(change func(*apiextensionsv1.CustomResourceDefinitionSpec)) {
		t.Helper()
		eventually(t, func(ctx context.Context) error {
			if err := shared.Client.Get(ctx, client.ObjectKey{Name: "capsetpolicies.capvet.dev"}, crd); err != nil {
				return err
			}
			change(&crd.Spec)
			return shared.Client.Update(ctx, crd)
		})
	}
	var bounded *apiextensionsv1.JSONSchemaProps
	change(func(spec *apiextensionsv1.CustomResourceDefinitionSpec) {
		bounded = spec.Versions[0].Schema.OpenAPIV3Schema.DeepCopy()
		policy := spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		exemptions := policy.Properties["exemptions"]
		exemptions.MaxItems, exemptions.XValidations = new(int64(256)), nil
		policy.Properties["exemptions"] = exemptions
	})
	restore := func() {
		change(func(spec *apiextensionsv1.CustomResourceDefinitionSpec) {
			spec.Versions[0].Schema.OpenAPIV3Schema = bounded
		})
	}
	restored := false
	t.Cleanup(func() {
		if !restored {
			restore()
		}
	})
	e := v1alpha1.Exemption{Images: slices.Repeat([]string{"**" + strings.Repeat("a*", 29)}, 64), Reason: "r"}
	var policies []*v1alpha1.CapsetPolicy
	for i := range 6 {
		p := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("stored-%d", i), Namespace: ns},
			Spec: v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, Exemptions: slices.Repeat([]v1alpha1.Exemption{e}, 256)}}
		eventually(t, func(ctx context.Context) error { return shared.Client.Create(ctx, p.DeepCopy()) }) // the new schema takes a while
		policies = append(policies, p)
	}
	restore()
	restored = true
	const reason = "spec.exemptions: 256 entries, the limit is 64"
	for _, p := range policies {
		eventually(t, func(ctx context.Context) error {
			var got v1alpha1.CapsetPolicy
			if err := shared.Client.Get(ctx, client.ObjectKeyFromObject(p), &got); err != nil {
				return err
			}
			ready := apimeta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil || ready.Reason != v1alpha1.ReasonBroken || !strings.Contains(ready.Message, reason) {
				return fmt.Errorf("%s: the condition is %+v", p.Name, ready)
			}
			return nil
		})
	}
	warnings, err := create(t, newPerson(t), ns, pod("p", nobody+"/app:1"))
	if all := strings.Join(warnings, "\n"); err != nil || !strings.Contains(all, "stored-0 is not applied, because it is broken: "+reason) {
		t.Errorf("%v: %q", err, warnings)
	}
}

// TestObjectTooLarge: a Pod whose review exceeds the limit is answered by tooLarge.
func TestObjectTooLarge(t *testing.T) {
	large := pod("large", nobody+"/app:1")
	large.Spec.Containers[0].Args = []string{strings.Repeat("<", 1_300_000)} // six bytes each in JSON
	for _, action := range []v1alpha1.Action{v1alpha1.ActionReject, v1alpha1.ActionWarn} {
		t.Run(strings.ToLower(string(action)), func(t *testing.T) {
			ns := namespace(t, &v1alpha1.CapsetPolicySpec{OnScanError: v1alpha1.ScanErrorActions{TooLarge: action}})
			awaitPolicy(t, ns, "own")
			warnings, err := create(t, newPerson(t), ns, large)
			text := strings.Join(warnings, "\n")
			if err != nil {
				text += err.Error()
			}
			if denied(err) != (action == v1alpha1.ActionReject) || !strings.Contains(text, "this object is too large for capvet") {
				t.Errorf("%v: %q", err, warnings)
			}
		})
	}
}
