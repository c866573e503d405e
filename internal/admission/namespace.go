package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/labels"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/reviewserver"
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

// ClusterPolicySource provides the policies of the cluster's administrator.
type ClusterPolicySource interface {
	// ClusterPoliciesFor returns the policies that apply in a namespace with these
	// labels, in any order.
	ClusterPoliciesFor(namespace labels.Set) ([]policy.Policy, error)
}

// NamespaceHandler answers changes of the labels v1alpha1.LabelMode and
// v1alpha1.LabelFail of a namespace: it warns when a label has no effect. It
// refuses no request.
type NamespaceHandler struct{ Policies ClusterPolicySource }

// Handle answers one request.
func (h *NamespaceHandler) Handle(ctx context.Context, req reviewserver.Request) (response admission.Response) {
	response = admission.Allowed("")
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "answering for a namespace")
			response = admission.Allowed("")
		}
	}()
	if req.Resource.Group != "" || req.Resource.Resource != "namespaces" || req.SubResource != "" {
		return response
	}
	current, err := subject.DecodeMetadata(req.Object)
	if err != nil {
		logf.FromContext(ctx).Error(err, "cannot read a namespace")
		return response
	}
	if current.DeletionTimestamp != nil {
		return response
	}
	var old subject.Metadata
	if req.Operation == admissionv1.Update {
		if old, err = subject.DecodeMetadata(req.OldObject); err != nil {
			logf.FromContext(ctx).Error(err, "cannot read the old object of a namespace")
		}
	}
	changed := func(label string) (string, bool) {
		value, has := current.Labels[label]
		before, had := old.Labels[label]
		return value, has && (!had || before != value)
	}
	if fail, has := changed(v1alpha1.LabelFail); has && fail != v1alpha1.FailClosed {
		warning := fmt.Sprintf("%s=%s does nothing: the only value is %s", v1alpha1.LabelFail, fail, v1alpha1.FailClosed)
		response = response.WithWarnings(wording.Lines([]string{warning})...)
	}
	mode, has := changed(v1alpha1.LabelMode)
	if !has {
		return response
	}
	// The API server adds this label; a policy may select by it.
	namespace := labels.Merge(current.Labels, labels.Set{policy.LabelMetadataName: req.Name})
	policies, err := h.Policies.ClusterPoliciesFor(namespace)
	if err != nil {
		logf.FromContext(ctx).Error(err, "cannot tell which policies apply")
		return response
	}
	return response.WithWarnings(wording.Lines(modeWarnings(mode, policies))...)
}

// modeWarnings returns the warnings for a mode label, given the policies that
// apply with it.
func modeWarnings(mode string, policies []policy.Policy) []string {
	label := v1alpha1.LabelMode + "=" + mode
	if mode == v1alpha1.ModeOff {
		var applied []string
		for i := range policies {
			if policies[i].Acts() {
				applied = append(applied, policies[i].Name)
			}
		}
		if len(applied) == 0 {
			return nil
		}
		slices.Sort(applied)
		if others := len(applied) - 1; others > 0 {
			return []string{fmt.Sprintf("%s is not permitted here: %s and %d more still apply", label, applied[0], others)}
		}
		return []string{label + " is not permitted here: " + applied[0] + " still applies"}
	}
	if slices.ContainsFunc(policies, func(p policy.Policy) bool { return p.Chooses(v1alpha1.LabelMode, mode) }) {
		return nil
	}
	if slices.Contains(v1alpha1.Modes(), mode) {
		return []string{label + " does nothing: no ClusterCapsetPolicy chooses namespaces by it"}
	}
	return []string{fmt.Sprintf("%s does nothing: the modes are %s", label, strings.Join(v1alpha1.Modes(), ", "))}
}
