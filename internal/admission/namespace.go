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
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

// ClusterPolicySource knows the policies of the cluster's administrator.
type ClusterPolicySource interface {
	// InNamespace returns those that hold in a namespace with these labels, in
	// no particular order.
	InNamespace(namespace labels.Set) ([]policy.Policy, error)
}

// NamespaceHandler answers whoever writes the labels v1alpha1.LabelMode and
// v1alpha1.LabelFail on a namespace with what will come of it. It refuses nothing.
type NamespaceHandler struct{ Policies ClusterPolicySource }

var _ Reviewer = (*NamespaceHandler)(nil)

// Handle answers one request.
func (h *NamespaceHandler) Handle(ctx context.Context, req Request) (response admission.Response) {
	response = admission.Allowed("")
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "looking at a namespace")
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
			logf.FromContext(ctx).Error(err, "cannot read what a namespace was")
		}
	}
	written := func(label string) (string, bool) {
		value, has := current.Labels[label]
		before, had := old.Labels[label]
		return value, has && (!had || before != value)
	}
	if fail, has := written(v1alpha1.LabelFail); has && fail != v1alpha1.FailClosed {
		response = response.WithWarnings(wording.Lines([]string{fmt.Sprintf("%s=%s does nothing: the only value is %s", v1alpha1.LabelFail, fail, v1alpha1.FailClosed)})...)
	}
	mode, has := written(v1alpha1.LabelMode)
	if !has {
		return response
	}
	// The API server adds this label; a policy may select by it.
	namespace := labels.Merge(current.Labels, labels.Set{policy.LabelMetadataName: req.Name})
	policies, err := h.Policies.InNamespace(namespace)
	if err != nil {
		logf.FromContext(ctx).Error(err, "cannot tell which policies hold")
		return response
	}
	return response.WithWarnings(wording.Lines(modeWarnings(mode, policies))...)
}

// modeWarnings says what is not as the label suggests, given the policies that
// hold with it.
func modeWarnings(mode string, policies []policy.Policy) []string {
	label := v1alpha1.LabelMode + "=" + mode
	if mode == v1alpha1.ModeOff {
		var holding []string
		for i := range policies {
			if policies[i].Acts() {
				holding = append(holding, policies[i].Name)
			}
		}
		if len(holding) == 0 {
			return nil
		}
		slices.Sort(holding)
		if others := len(holding) - 1; others > 0 {
			return []string{fmt.Sprintf("%s is not permitted here: %s and %d more hold all the same", label, holding[0], others)}
		}
		return []string{label + " is not permitted here: " + holding[0] + " holds all the same"}
	}
	if slices.ContainsFunc(policies, func(p policy.Policy) bool { return p.Chooses(v1alpha1.LabelMode, mode) }) {
		return nil
	}
	if slices.Contains(v1alpha1.Modes(), mode) {
		return []string{label + " does nothing: no ClusterCapsetPolicy chooses namespaces by it"}
	}
	return []string{fmt.Sprintf("%s does nothing: the modes are %s", label, strings.Join(v1alpha1.Modes(), ", "))}
}
