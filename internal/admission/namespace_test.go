package admission

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
	"github.com/capvet/capvet/internal/reviewserver"
)

type clusterSource struct {
	policies []policy.Policy
	err      error
	panics   bool
}

func (s clusterSource) ClusterPoliciesFor(namespace labels.Set) ([]policy.Policy, error) {
	if s.panics {
		panic("no policies")
	}
	var matching []policy.Policy
	for _, p := range s.policies {
		if p.Namespaces.Matches(namespace) {
			matching = append(matching, p)
		}
	}
	return matching, s.err
}

func TestNamespaceHandler(t *testing.T) {
	compiled := func(name string, action v1alpha1.Action, requirements ...v1alpha1.LabelRequirement) policy.Policy {
		object := &v1alpha1.ClusterCapsetPolicy{Spec: v1alpha1.ClusterCapsetPolicySpec{
			NamespaceSelector: v1alpha1.LabelSelector{MatchExpressions: requirements},
			CapsetPolicySpec: v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: v1alpha1.ActionIgnore,
				OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionIgnore}},
		}}
		object.Name = name
		p, err := policyspec.CompileCluster(object)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	mode := func(operator metav1.LabelSelectorOperator, values ...v1alpha1.LabelValue) v1alpha1.LabelRequirement {
		return v1alpha1.LabelRequirement{Key: v1alpha1.LabelMode, Operator: operator, Values: values}
	}
	const in, notIn = metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn
	preset := compiled("reject", v1alpha1.ActionReject, mode(in, "reject"))
	permits := compiled("default", v1alpha1.ActionWarn, mode(notIn, "off"))
	strict := compiled("strict", v1alpha1.ActionWarn)
	ignoring := compiled("ignoring", v1alpha1.ActionIgnore)
	byName := v1alpha1.LabelRequirement{Key: "kubernetes.io/metadata.name", Operator: in, Values: []v1alpha1.LabelValue{"shop"}}
	kept := compiled("kept", v1alpha1.ActionWarn, byName)
	own := compiled("own", v1alpha1.ActionWarn, mode(in, "gold"))
	exists := compiled("any", v1alpha1.ActionWarn, mode(metav1.LabelSelectorOpExists))
	const noMode = "capvet.dev/mode=rejct does nothing: the modes are audit, warn, reject, off"
	set := func(mode string) map[string]string { return map[string]string{v1alpha1.LabelMode: mode} }
	for _, tt := range []struct {
		name   string
		source clusterSource
		old    map[string]string
		labels map[string]string
		want   []string
	}{
		{"no label", clusterSource{}, nil, map[string]string{"a": "b"}, nil},
		{"a preset", clusterSource{policies: []policy.Policy{preset, permits}}, nil, set("reject"), nil},
		{"no such preset", clusterSource{policies: []policy.Policy{preset, permits}}, nil, set("warn"),
			[]string{"capvet.dev/mode=warn does nothing: no ClusterCapsetPolicy chooses namespaces by it"}},
		{"no such mode", clusterSource{policies: []policy.Policy{preset, permits}}, nil, set("rejct"),
			[]string{noMode}},
		{"the administrator's own mode", clusterSource{policies: []policy.Policy{own}}, nil, set("gold"), nil},
		{"any mode at all", clusterSource{policies: []policy.Policy{exists}}, nil, set("gold"), nil},
		{"off is permitted", clusterSource{policies: []policy.Policy{preset, permits, ignoring}}, nil, set("off"), nil},
		{"off is not permitted", clusterSource{policies: []policy.Policy{strict, permits}}, nil, set("off"),
			[]string{"capvet.dev/mode=off is not permitted here: ClusterCapsetPolicy/strict still applies"}},
		{"off is not permitted by several", clusterSource{policies: []policy.Policy{strict, kept}}, nil, set("off"),
			[]string{"capvet.dev/mode=off is not permitted here: ClusterCapsetPolicy/kept and 1 more still apply"}},
		{"unchanged", clusterSource{}, set("rejct"), set("rejct"), nil},
		{"changed", clusterSource{}, set("warn"), set("rejct"), []string{noMode}},
		{"fails closed", clusterSource{}, nil, map[string]string{v1alpha1.LabelFail: "closed"}, nil},
		{"would fail closed", clusterSource{}, map[string]string{}, map[string]string{v1alpha1.LabelFail: "Closed"},
			[]string{"capvet.dev/fail=Closed does nothing: the only value is closed"}},
		{"would fail closed, as before", clusterSource{},
			map[string]string{v1alpha1.LabelFail: ""}, map[string]string{v1alpha1.LabelFail: ""}, nil},
		{"two mistakes", clusterSource{}, map[string]string{}, map[string]string{v1alpha1.LabelFail: "", v1alpha1.LabelMode: "rejct"},
			[]string{"capvet.dev/fail= does nothing: the only value is closed", noMode}},
		{"policies unknown", clusterSource{err: errors.New("not synced")}, nil, set("rejct"), nil},
		{"policies panic", clusterSource{panics: true}, nil, set("rejct"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			encode := func(l map[string]string) []byte {
				return encoded(t, corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: l}})
			}
			req := reviewserver.Request{
				Operation: admissionv1.Create, Name: "shop", Object: encode(tt.labels),
				Resource: metav1.GroupVersionResource{Version: "v1", Resource: "namespaces"},
			}
			if tt.old != nil {
				req.Operation, req.OldObject = admissionv1.Update, encode(tt.old)
			}
			got := (&NamespaceHandler{Policies: tt.source}).Handle(t.Context(), req)
			if diff := cmp.Diff(tt.want, got.Warnings); diff != "" || !got.Allowed {
				t.Errorf("allowed is %v (-want +got):\n%s", got.Allowed, diff)
			}
		})
	}
	for _, object := range []string{``, `null`, `[]`, `{"metadata":{"labels":"none"}}`} {
		broken := reviewserver.Request{Resource: metav1.GroupVersionResource{Resource: "namespaces"}, Object: []byte(object)}
		if got := (&NamespaceHandler{}).Handle(t.Context(), broken); !got.Allowed {
			t.Errorf("the object %q: %+v", object, got)
		}
	}
}
