// Package admission answers AdmissionReviews for Pods and for the workloads
// that make them: it finds out which images a request brings, which policies hold, has the images read, has the
// reports judged, and words the answer.
//
// It is not for reading images or judging them; that is what imagescan and
// policy do. The request comes from an API server and is trusted to be well
// formed; everything that an image says of itself is not.
package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/reviewserver"
	"github.com/capvet/capvet/internal/wording"
)

// ImageReader reads one image for one platform with the credentials of one Pod.
type ImageReader interface {
	// Read returns what was found. Where the error has a FailureClass method,
	// policies judge by what it returns. It answers soon after ctx ends.
	Read(ctx context.Context, puller Puller, wanted Wanted) (report.Report, error)
}

// Wanted is what is wanted of one image.
type Wanted struct {
	// Reference is the image as the Pod writes it.
	Reference string
	// Platform is os/arch.
	Platform string
	// Scope is how much of it is to be read.
	Scope policy.Scope
	// Words are the commands and arguments of all containers that run it.
	Words []string
}

// Puller is who pulls an image: all that a kubelet would look at to find
// credentials.
type Puller struct {
	Namespace        string
	ServiceAccount   string
	ImagePullSecrets []string
}

// PolicySource knows the policies of the cluster.
type PolicySource interface {
	// PoliciesFor returns the policies that hold in a namespace, for some Pods at least,
	// and for each policy that is broken a line that says so. Neither is changed by
	// the caller.
	PoliciesFor(ctx context.Context, namespace string) (policies []policy.Policy, broken []string, err error)
}

// NodeSource knows on which nodes Pods can land.
type NodeSource interface {
	// Architectures returns those of candidates (GOARCH names), in their order,
	// on which a Pod with this spec can land.
	Architectures(spec *corev1.PodSpec, candidates []string) []string
}

// Observer is told of each answer, for metrics.
type Observer interface {
	Answered(Answer)
}

// Answer is what is said of one request to an Observer.
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
	OutcomeSkipped  Outcome = "skipped"  // nothing to judge: no new image, or no policy
	OutcomeClean    Outcome = "clean"    // judged, nothing found
	OutcomeUnread   Outcome = "unread"   // nothing found, and some image not read for want of a hint
	OutcomeAudited  Outcome = "audited"  // admitted in silence, with a trace
	OutcomeWarned   Outcome = "warned"   // admitted with warnings
	OutcomeRejected Outcome = "rejected" // refused
	OutcomeError    Outcome = "error"    // admitted with a warning because capvet itself failed
)

// maxConcurrentReads bounds how many images of one Pod are read at a time.
const maxConcurrentReads = 8

// Handler answers admission requests for Pods and workloads. All fields but
// Files are required.
type Handler struct {
	// Files reads configuration files in volumes; nil: they are not known.
	Files    FileSource
	Policies PolicySource
	Nodes    NodeSource
	Images   ImageReader
	Observer Observer
	Now      func() time.Time
}

var _ reviewserver.Reviewer = (*Handler)(nil)

// Handle answers one request. ctx carries the deadline by which the answer must
// be given, see WithDeadline. It refuses nothing but for a policy's Reject:
// an error or a panic in here is answered with the policies' action for scan
// errors, and with a warning where the policies themselves are not known.
func (h *Handler) Handle(ctx context.Context, req reviewserver.Request) (response admission.Response) {
	start := h.Now()
	answer := Answer{Outcome: OutcomeSkipped, DryRun: req.DryRun != nil && *req.DryRun}
	var policies []policy.Policy
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "answering by the policies' action for scan errors", "stack", string(debug.Stack()))
			answer.Outcome, answer.Decision = OutcomeError, policy.Decision{}
			response = internalError(policies)
			if !response.Allowed {
				answer.Outcome = OutcomeRejected
			}
		}
		answer.Duration = h.Now().Sub(start)
		h.Observer.Answered(answer)
	}()

	kind, judges := judgedKind(req)
	if !judges {
		return admission.Allowed("")
	}
	holding, broken, policiesErr := h.Policies.PoliciesFor(ctx, req.Namespace)
	if policiesErr == nil && len(holding) == 0 && len(broken) == 0 {
		return admission.Allowed("") // without a look at the object
	}
	judged, brought, err := subjectOf(kind, req)
	if err != nil {
		logf.FromContext(ctx).Error(err, "cannot read the request's object")
		answer.Outcome = OutcomeError
		return internalError(nil)
	}
	if len(brought) == 0 {
		return admission.Allowed("")
	}
	if policiesErr != nil {
		logf.FromContext(ctx).Error(policiesErr, "cannot tell which policies hold")
		answer.Outcome = OutcomeError
		return internalError(nil)
	}
	policies = policy.ForPod(holding, labels.Set(judged.Template.Labels))
	puller := Puller{Namespace: req.Namespace, ServiceAccount: judged.ServiceAccount(), ImagePullSecrets: judged.PullSecrets()}
	architectures := h.Nodes.Architectures(&judged.Template.Spec, policy.Architectures(policies))
	images := h.read(ctx, puller, policies, policy.Spread(bounded(brought), architectures))
	if images == nil {
		return admission.Allowed("").WithWarnings(wording.Lines(broken)...)
	}
	h.readFiles(ctx, req.Namespace, judged, policies, images)
	evaluate := policy.Evaluate
	if judged.Workload() {
		evaluate = policy.EvaluateWorkload
	}
	answer.Decision = evaluate(h.Now(), policies, images)
	response, answer.Outcome = respond(judged.Kind, answer.Decision, broken)
	h.log(ctx, judged.Kind, answer, response.AuditAnnotations)
	return response
}

// read has those images read that some policy wants to know about, and returns
// all of them with what was found; soon after ctx ends.
func (h *Handler) read(ctx context.Context, puller Puller, policies []policy.Policy, images []policy.Image) []policy.Image {
	readings := readingsOf(h.Now(), policies, images)
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(readings)) && ctx.Err() == nil; i = next.Add(1) - 1 {
			reading := &readings[i]
			if r, err := h.readOne(ctx, puller, reading.wanted); err != nil {
				reading.failure = failureOf(ctx, err)
			} else {
				reading.report = &r
			}
		}
	}
	var others sync.WaitGroup
	for range min(len(readings), maxConcurrentReads) - 1 { // for one image there is none to wait for
		others.Go(work)
	}
	work()
	others.Wait()
	for _, reading := range readings {
		if reading.report == nil && reading.failure == nil {
			reading.failure = &report.Failure{Class: report.FailureTimeout, Detail: "not yet read when the time for an answer ran out"}
		}
		for _, i := range reading.images {
			images[i].Report, images[i].Failure = reading.report, reading.failure
		}
	}
	return images
}

// readOne turns a panic of the reader into an error.
func (h *Handler) readOne(ctx context.Context, puller Puller, wanted Wanted) (r report.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			logf.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "reading an image", "image", wanted.Reference, "stack", string(debug.Stack()))
			err = errors.New("capvet failed on this image; its log has the details")
		}
	}()
	return h.Images.Read(ctx, puller, wanted)
}

// failureOf gives an error its class. What goes wrong within capvet, or between it
// and the API server, is for the log: whoever brings the Pod is told no more than
// that.
func failureOf(ctx context.Context, err error) *report.Failure {
	failure := &report.Failure{Class: report.FailureInternal, Detail: err.Error()}
	var classed interface{ FailureClass() report.FailureClass }
	switch {
	case errors.As(err, &classed):
		failure.Class = classed.FailureClass()
	case errors.Is(err, context.DeadlineExceeded):
		failure.Class = report.FailureTimeout
	default:
		logf.FromContext(ctx).Error(err, "cannot inspect an image")
		failure.Detail = "its log has the details"
	}
	return failure
}

// log writes one line for each request that came to something, with what the audit
// annotations say.
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
