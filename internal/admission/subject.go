package admission

import (
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/subject"
)

// subjectOf returns what a request is about and the images that it brings. It
// returns no images for a request that is never judged.
//
// The webhooks' matchConditions leave most of those requests out already, but
// an error in evaluating those skips the webhook in silence, and whoever edits
// the configuration may drop them: so the same checks stand here.
func subjectOf(req admission.Request) (*subject.Subject, []policy.Image, error) {
	kind, judged := subject.KindOfResource(req.Resource.Group, req.Resource.Resource)
	ephemeral := kind == subject.KindPod && req.SubResource == "ephemeralcontainers"
	if !judged || (req.SubResource != "" && !ephemeral) {
		return nil, nil, nil
	}
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return nil, nil, nil
	}
	current, err := subject.Decode(kind, req.Object.Raw)
	if err != nil {
		return nil, nil, err
	}
	if current.LeftAlone() {
		return nil, nil, nil
	}
	if req.Operation == admissionv1.Create {
		return current, current.Images(), nil
	}
	old, err := subject.Decode(kind, req.OldObject.Raw)
	if err != nil {
		return nil, nil, err
	}
	return current, current.Changed(old), nil
}
