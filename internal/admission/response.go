package admission

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

// Keys of audit annotations. The API server prefixes them with the webhook's name and a slash; a
// key contains no slash of its own.
const (
	annotationDecision   = "decision"
	annotationFindings   = "findings"
	annotationExemptions = "exemptions"
	annotationNotRead    = "notRead"
	annotationError      = "error"
)

// decisionNotRead is the decision without findings where images were left unread: it must not
// read as clean.
const decisionNotRead = "not read: no sign of a known product"

// findingsPlace is the place of the findings for which warnings have no room.
const findingsPlace = `the audit annotation "` + annotationFindings + `"`

const (
	// maxAnnotation bounds an audit annotation's value in bytes.
	maxAnnotation = 8 << 10
	// maxSummaryText bounds a text of a finding in it, in bytes, and maxSummaryContainers the
	// containers: a Pod with an image reference of 3 MiB, or with thousands of containers, must
	// not leave its findings out.
	maxSummaryText       = 512
	maxSummaryContainers = 16
)

// respond turns a decision about an object of that kind into a response. broken are warnings
// about broken policies.
func respond(kind string, d policy.Decision, broken []string) (admission.Response, Outcome) {
	response, outcome := admission.Allowed(""), OutcomeClean
	switch d.Action {
	case policy.ActionReject:
		response, outcome = admission.Denied(wording.Denial(d.Findings)), OutcomeRejected
	case policy.ActionWarn:
		response, outcome = response.WithWarnings(wording.Warnings(kind, findingsPlace, d.Findings)...), OutcomeWarned
	case policy.ActionAudit:
		outcome = OutcomeAudited
	case policy.ActionIgnore:
	}
	response = response.WithWarnings(wording.Broken(broken)...)
	response.AuditAnnotations = map[string]string{annotationDecision: string(d.Action)}
	if len(d.NotRead) > 0 {
		response.AuditAnnotations[annotationNotRead] = boundedJSON(d.NotRead, same, 0)
		if d.Action == policy.ActionIgnore {
			outcome, response.AuditAnnotations[annotationDecision] = OutcomeUnread, decisionNotRead
		}
	}
	if len(d.Findings) > 0 {
		response.AuditAnnotations[annotationFindings] = boundedJSON(d.Findings, summaryOf, d.Omitted)
	}
	if len(d.Exempted) > 0 {
		response.AuditAnnotations[annotationExemptions] = boundedJSON(d.Exempted, same, 0)
	}
	return response, outcome
}

// Texts of requests that are not judged.
const (
	textInternal = "capvet failed on this request, so its images were not inspected; capvet's log has the details"
	textUnread   = "this object is too large for capvet, so its images were not inspected: %s; make it smaller"
)

// unjudged is the response to a request that cannot be judged: by the strictest action of
// the policies for that class of error, or a warning where the policies are unknown.
func unjudged(policies []policy.Policy, class report.FailureClass, kind, text string) admission.Response {
	action := policy.ActionWarn
	if len(policies) > 0 {
		action = policy.Unjudged(policies, class, kind != subject.KindPod)
	}
	response := admission.Allowed("")
	switch action {
	case policy.ActionReject:
		response = admission.Denied(text + " (rejected by a policy's onScanError)")
	case policy.ActionWarn:
		response = response.WithWarnings(text)
	case policy.ActionAudit, policy.ActionIgnore:
	}
	response.AuditAnnotations = map[string]string{annotationDecision: string(action), annotationError: text}
	return response
}

// summary is a finding for logs and audit annotations.
type summary struct {
	Action       policy.Action       `json:"action"`
	Policy       string              `json:"policy"`
	Pods         policy.Action       `json:"pods,omitempty"`
	Rule         policy.Rule         `json:"rule"`
	Containers   []string            `json:"containers"`
	More         int                 `json:"moreContainers,omitempty"`
	Image        string              `json:"image"`
	Architecture string              `json:"architecture"`
	Path         string              `json:"path,omitempty"`
	Product      *report.Product     `json:"product,omitempty"`
	ABI          report.ABI          `json:"abi,omitempty"`
	Basis        report.Basis        `json:"basis,omitempty"`
	Trigger      report.When         `json:"trigger,omitempty"`
	Error        report.FailureClass `json:"error,omitempty"`
	Detail       string              `json:"detail,omitempty"`
}

func summaryOf(f policy.Finding) summary {
	containers := f.Image.Containers[:min(len(f.Image.Containers), maxSummaryContainers)]
	s := summary{
		Action: f.Action, Policy: f.Policy, Pods: f.Pods, Rule: f.Rule,
		Containers: containers, More: len(f.Image.Containers) - len(containers),
		Image: f.Image.Reference, Architecture: f.Image.Architecture,
	}
	if f.Image.Report != nil && f.Image.Report.Image != "" {
		s.Image = f.Image.Report.Image
	}
	if f.Binary != nil {
		s.Path, s.Product, s.ABI, s.Basis = cut(f.Binary.Path), f.Binary.Product, f.Binary.Capset.ABI, f.Binary.Capset.Basis
	}
	if f.Trigger != nil {
		s.Trigger = f.Trigger.When
	}
	if f.Image.Failure != nil {
		s.Error, s.Detail = f.Image.Failure.Class, f.Image.Failure.Detail
	}
	if f.Gap != nil {
		s.Detail = strings.Join([]string{f.Gap.Where, f.Gap.Reason, f.Gap.Detail}, ": ")
	}
	s.Image, s.Detail = cut(s.Image), cut(s.Detail)
	return s
}

// cut cuts a text at maxSummaryText.
func cut(s string) string {
	if len(s) <= maxSummaryText {
		return s
	}
	return strings.ToValidUTF8(s[:maxSummaryText], "") + "…"
}

func same[T any](value T) T { return value }

// boundedJSON returns as many of the values as fit in an annotation, each as convert makes it, as
// a JSON array that ends with the number of values left out, including those omitted before.
func boundedJSON[T, U any](values []T, convert func(T) U, omitted int) string {
	var elements []string
	size := 0
	for i, v := range values {
		encoded, err := json.Marshal(convert(v))
		if err != nil { // plain values always encode
			continue
		}
		if size += len(encoded) + 1; size > maxAnnotation {
			omitted += len(values) - i
			break
		}
		elements = append(elements, string(encoded))
	}
	if omitted > 0 {
		elements = append(elements, fmt.Sprintf(`{"more":%d}`, omitted))
	}
	return "[" + strings.Join(elements, ",") + "]"
}
