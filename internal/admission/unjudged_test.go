package admission

import (
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/reviewserver"
)

// TestUnjudged: a request whose object cannot be judged is answered by the policies of its
// namespace: one that is too large by tooLarge, one that is unreadable by default. A workload
// gets their action for workloads, and requests that are never judged get no answer by policy.
func TestUnjudged(t *testing.T) {
	onError := func(tooLarge, other v1alpha1.Action) v1alpha1.CapsetPolicySpec {
		return v1alpha1.CapsetPolicySpec{OnScanError: v1alpha1.ScanErrorActions{TooLarge: tooLarge, Default: other}}
	}
	const unread = "the review has more than 7 bytes"
	for _, tt := range []struct {
		name     string
		spec     v1alpha1.CapsetPolicySpec
		resource string
		unread   string
		outcome  Outcome
		text     string
	}{
		{name: "rejected", spec: onError(v1alpha1.ActionReject, v1alpha1.ActionIgnore),
			resource: "pods", unread: unread, outcome: OutcomeRejected,
			text: "this object is too large for capvet, so its images were not inspected: " + unread + "; make it smaller (rejected by"},
		{name: "warned", spec: onError(v1alpha1.ActionWarn, v1alpha1.ActionReject),
			resource: "pods", unread: unread, outcome: OutcomeError,
			text: unread},
		{name: "by default", spec: onError("", v1alpha1.ActionReject),
			resource: "pods", unread: unread, outcome: OutcomeRejected,
			text: unread},
		{name: "ignored", spec: onError(v1alpha1.ActionIgnore, v1alpha1.ActionReject),
			resource: "pods", unread: unread, outcome: OutcomeError},
		{name: "a workload", spec: onError(v1alpha1.ActionReject, v1alpha1.ActionIgnore),
			resource: "deployments", unread: unread, outcome: OutcomeError,
			text: unread},
		{name: "another kind", spec: onError(v1alpha1.ActionReject, v1alpha1.ActionReject),
			resource: "services", unread: unread, outcome: OutcomeSkipped},
		{name: "unreadable", spec: onError(v1alpha1.ActionIgnore, v1alpha1.ActionReject),
			resource: "pods", outcome: OutcomeRejected,
			text: textInternal},
		{name: "an unreadable workload", spec: onError(v1alpha1.ActionIgnore, v1alpha1.ActionReject),
			resource: "deployments", outcome: OutcomeError,
			text: textInternal},
	} {
		var seen observer
		h := &Handler{Policies: source{policies: []policy.Policy{clusterPolicy(t, tt.spec)}}, Observer: &seen, Now: time.Now}
		req := reviewserver.Request{Namespace: "shop", Operation: admissionv1.Create, Unread: tt.unread,
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: tt.resource}}
		if tt.resource == "deployments" {
			req.Resource.Group = "apps"
		}
		response := h.Handle(t.Context(), req)
		said := strings.Join(response.Warnings, "\n")
		if response.Result != nil {
			said += response.Result.Message
		}
		if len(seen.answers) != 1 || seen.answers[0].Outcome != tt.outcome || response.Allowed == (tt.outcome == OutcomeRejected) ||
			!strings.Contains(said, tt.text) || tt.text == "" && said != "" {
			t.Errorf("%s: %+v: %v %q", tt.name, seen.answers, response.Allowed, said)
		}
	}
}
