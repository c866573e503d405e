package admission

import (
	"errors"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/reviewserver"
	"github.com/capvet/capvet/internal/subject"
)

// judgedKind returns the kind of a request's object, false for a request that is never judged.
//
// The webhooks' matchConditions exclude most of those requests already, but an error in their
// evaluation skips the webhook silently, and an administrator may remove them: so the same
// checks are here and in subjectOf.
func judgedKind(req reviewserver.Request) (string, bool) {
	kind, judged := subject.KindOfResource(req.Resource.Group, req.Resource.Resource)
	ephemeral := kind == subject.KindPod && req.SubResource == "ephemeralcontainers"
	if !judged || (req.SubResource != "" && !ephemeral) {
		return "", false
	}
	return kind, req.Operation == admissionv1.Create || req.Operation == admissionv1.Update
}

// subjectOf returns the object of a request and the images that it adds; no images if it is not
// judged.
func subjectOf(kind string, req reviewserver.Request) (*subject.Subject, []policy.Image, error) {
	if len(req.Object) == 0 || req.Operation == admissionv1.Update && len(req.OldObject) == 0 {
		return nil, nil, errors.New("the request has no object, or an update no old one")
	}
	current, err := subject.Decode(kind, req.Object)
	if err != nil {
		return nil, nil, err
	}
	if current.LeftAlone() {
		return nil, nil, nil
	}
	if req.Operation == admissionv1.Create {
		return current, current.Images(), nil
	}
	old, err := subject.Decode(kind, req.OldObject)
	if err != nil {
		return nil, nil, err
	}
	return current, current.Changed(old), nil
}
