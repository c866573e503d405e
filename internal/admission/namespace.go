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

// NamespaceHandler answers whoever writes the label v1alpha1.LabelMode on a
// namespace with what will come of it. It refuses nothing.
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
	mode, has := current.Labels[v1alpha1.LabelMode]
	if !has || current.DeletionTimestamp != nil {
		return response
	}
	if req.Operation == admissionv1.Update {
		old, err := subject.DecodeMetadata(req.OldObject)
		if err == nil && old.Labels[v1alpha1.LabelMode] == mode {
			return response
		}
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
		return []string{label + " is not permitted here: " + holding[0] + more(len(holding)-1) + " holds all the same"}
	}
	if slices.ContainsFunc(policies, func(p policy.Policy) bool { return p.Chooses(v1alpha1.LabelMode, mode) }) {
		return nil
	}
	if slices.Contains(v1alpha1.Modes(), mode) {
		return []string{label + " does nothing: no ClusterCapsetPolicy chooses namespaces by it"}
	}
	return []string{fmt.Sprintf("%s does nothing: the modes are %s", label, strings.Join(v1alpha1.Modes(), ", "))}
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
