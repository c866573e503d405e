// Package admission turns AdmissionReviews of Pods and workloads into decisions, and decisions
// into responses.
//
// It is not for reading images (see imagescan) or for judging them (see judge). Requests come
// from an API server and are trusted to be well formed; facts about images are not.
package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/reviewserver"
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

// ImageReader reads one image for one platform with the credentials of one Pod.
type ImageReader interface {
	// Read returns the facts about the image. The class of an error is that of
	// report.ClassOf. It returns soon after ctx ends.
	Read(ctx context.Context, puller Puller, wanted judge.Wanted) (report.Report, error)
}

// FileSource reads configuration files that Pods mount.
type FileSource interface {
	// Settings reads the file that a ConfigMap has under a key; false if it is unknown.
	// It returns soon after ctx ends.
	Settings(ctx context.Context, namespace, configMap, key string) (report.Settings, bool)
}

// Puller identifies the Pod that pulls an image, by the fields in which a kubelet finds
// credentials.
type Puller struct {
	Namespace        string
	ServiceAccount   string
	ImagePullSecrets []string
}

// PolicySource holds the policies of the cluster.
type PolicySource interface {
	// PoliciesFor returns the policies that apply to Pods in a namespace, and a warning for each
	// broken policy. The caller modifies neither.
	PoliciesFor(ctx context.Context, namespace string) (policies []policy.Policy, broken []string, err error)
}

// NodeSource holds the nodes of the cluster.
type NodeSource interface {
	// Architectures returns the candidates (GOARCH names), in their order, on which a Pod with
	// this spec can land.
	Architectures(spec *corev1.PodSpec, candidates []string) []string
}

// Observer receives each answer, for metrics.
type Observer interface {
	Answered(Answer)
}

// Answer summarizes the response to one request.
type Answer struct {
	Outcome  Outcome
	DryRun   bool
	Duration time.Duration
	Decision policy.Decision
}

// Outcome is how a request ended.
type Outcome string

// Outcomes.
const (
	OutcomeSkipped  Outcome = "skipped" // not judged: no new image, or no policy
	OutcomeClean    Outcome = "clean"   // judged, without findings
	OutcomeUnread   Outcome = "unread"  // without findings, and an image was not read for want of a hint
	OutcomeAudited  Outcome = "audited" // admitted without warnings, with audit annotations
	OutcomeWarned   Outcome = "warned"  // admitted with warnings
	OutcomeRejected Outcome = "rejected"
	OutcomeError    Outcome = "error" // admitted with a warning about an error inside capvet
)

// Handler answers admission requests for Pods and workloads. All fields but
// Files are required.
type Handler struct {
	// Files reads configuration files in volumes; nil: they are unknown.
	Files    FileSource
	Policies PolicySource
	Nodes    NodeSource
	Images   ImageReader
	Observer Observer
	Now      func() time.Time
}

// Handle answers one request before the deadline of ctx. It rejects only for a policy's Reject:
// an error or a panic in here gets the policies' action for scan errors, or a warning where the
// policies are unknown.
func (h *Handler) Handle(ctx context.Context, req reviewserver.Request) (response admission.Response) {
	start := h.Now()
	answer := Answer{Outcome: OutcomeSkipped, DryRun: req.DryRun != nil && *req.DryRun}
	var kind string
	var policies []policy.Policy
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "answering by the policies' action for scan errors", "stack",
				string(debug.Stack()))
			answer.Outcome, answer.Decision = OutcomeError, policy.Decision{}
			response = unjudged(policies, report.FailureInternal, kind, textInternal)
		}
		if answer.Outcome == OutcomeError && !response.Allowed {
			answer.Outcome = OutcomeRejected
		}
		answer.Duration = h.Now().Sub(start)
		h.Observer.Answered(answer)
	}()

	var judges bool
	if kind, judges = judgedKind(req); !judges {
		return admission.Allowed("")
	}
	// Before the Pod's labels are known, all policies of the namespace count.
	applicable, broken, policiesErr := h.Policies.PoliciesFor(ctx, req.Namespace)
	policies = applicable
	if policiesErr == nil && len(policies) == 0 && len(broken) == 0 {
		return admission.Allowed("") // without decoding the object
	}
	if req.Unread != "" {
		logf.FromContext(ctx).Info("cannot judge an object that is too large", "kind", kind, "reason", req.Unread)
		answer.Outcome = OutcomeError
		return unjudged(policies, report.FailureTooLarge, kind, fmt.Sprintf(textUnread, req.Unread))
	}
	judged, brought, err := subjectOf(kind, req)
	if err != nil {
		logf.FromContext(ctx).Error(err, "cannot read the request's object")
		answer.Outcome = OutcomeError
		return unjudged(policies, report.FailureInternal, kind, textInternal)
	}
	if len(brought) == 0 {
		return admission.Allowed("")
	}
	if policiesErr != nil {
		logf.FromContext(ctx).Error(policiesErr, "cannot determine the policies of the namespace")
		answer.Outcome = OutcomeError
		return unjudged(nil, report.FailureInternal, kind, textInternal)
	}
	policies = policy.ForPod(policies, labels.Set(judged.Template.Labels))
	sources := h.sources(ctx, req.Namespace, judged)
	decision, decided := judge.Decide(h.Now(), policies, judged.ToJudge(brought, h.Nodes.Architectures), sources)
	if !decided {
		return admission.Allowed("").WithWarnings(wording.Broken(broken)...)
	}
	answer.Decision = decision
	response, answer.Outcome = respond(judged.Kind, answer.Decision, broken)
	h.log(ctx, judged.Kind, answer, response.AuditAnnotations)
	return response
}

// sources reads with the credentials of the subject's Pods, until ctx ends.
func (h *Handler) sources(ctx context.Context, namespace string, judged *subject.Subject) judge.Sources {
	puller := Puller{Namespace: namespace, ServiceAccount: judged.ServiceAccount(), ImagePullSecrets: judged.PullSecrets()}
	from := judge.Sources{Image: func(wanted judge.Wanted) (report.Report, error) { return h.readImage(ctx, puller, wanted) }}
	if h.Files != nil {
		from.Settings = func(configMap, key string) (report.Settings, bool) {
			if ctx.Err() != nil {
				return report.Settings{}, false
			}
			return h.Files.Settings(ctx, namespace, configMap, key)
		}
	}
	return from
}

// errOutOfTime is a timeout of an image that was still waiting for its turn.
type errOutOfTime struct{}

func (errOutOfTime) Error() string                     { return "not yet read when the time for an answer ran out" }
func (errOutOfTime) FailureClass() report.FailureClass { return report.FailureTimeout }

// errInternal is an error inside capvet, or between it and the API server, as the Pod's
// author sees it: the details are in the log alone.
var errInternal = errors.New("its log has the details")

// readImage reads one image, unless ctx has ended.
func (h *Handler) readImage(ctx context.Context, puller Puller, wanted judge.Wanted) (r report.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "reading an image", "image", wanted.Reference, "stack", string(debug.Stack()))
			err = errInternal
		}
	}()
	if ctx.Err() != nil {
		return report.Report{}, errOutOfTime{}
	}
	r, err = h.Images.Read(ctx, puller, wanted)
	if err == nil {
		return r, nil
	}
	if _, classed := report.ClassOf(err); !classed {
		logf.FromContext(ctx).Error(err, "cannot inspect an image")
		err = errInternal
	}
	return r, err
}

// log writes one line for each request with findings or unread images, with their annotations.
func (h *Handler) log(ctx context.Context, kind string, answer Answer, annotations map[string]string) {
	log := logf.FromContext(ctx)
	if answer.Outcome == OutcomeClean || !log.Enabled() {
		return
	}
	values := []any{"kind", kind, "outcome", answer.Outcome, "dryRun", answer.DryRun}
	for _, key := range []string{annotationFindings, annotationNotRead} {
		if list := annotations[key]; list != "" {
			values = append(values, key, json.RawMessage(list))
		}
	}
	log.Info("judged", values...)
}
