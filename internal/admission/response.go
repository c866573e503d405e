package admission

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/wording"
)

// Keys of audit annotations. The API server prefixes them with the webhook's
// name and a slash; a key has none of its own.
const (
	annotationDecision   = "decision"
	annotationFindings   = "findings"
	annotationExemptions = "exemptions"
	annotationNotRead    = "notRead"
	annotationError      = "error"
)

// decisionNotRead is the decision where nothing was found, and not all was
// looked at: it must not read as clean.
const decisionNotRead = "not read: no sign of a known product"

// findingsPlace is where a person finds what warnings have no room for.
const findingsPlace = `the audit annotation "` + annotationFindings + `"`

// maxAnnotation bounds an audit annotation's value in bytes.
const maxAnnotation = 8 << 10

// respond turns a decision about an object of that kind into an answer. broken
// are lines about policies that could not be applied.
func respond(kind string, d policy.Decision, broken []string) (admission.Response, Outcome) {
	response, outcome := admission.Allowed(""), OutcomeClean
	switch d.Action {
	case v1alpha1.ActionReject:
		response, outcome = admission.Denied(wording.Denial(d.Findings)), OutcomeRejected
	case v1alpha1.ActionWarn:
		response, outcome = response.WithWarnings(wording.Warnings(kind, findingsPlace, d.Findings)...), OutcomeWarned
	case v1alpha1.ActionAudit:
		outcome = OutcomeAudited
	}
	response = response.WithWarnings(wording.Lines(broken)...)
	response.AuditAnnotations = map[string]string{annotationDecision: string(d.Action)}
	if len(d.NotRead) > 0 {
		response.AuditAnnotations[annotationNotRead] = boundedJSON(d.NotRead)
		if d.Action == v1alpha1.ActionIgnore {
			outcome, response.AuditAnnotations[annotationDecision] = OutcomeUnread, decisionNotRead
		}
	}
	if len(d.Findings) > 0 {
		response.AuditAnnotations[annotationFindings] = boundedJSON(summaries(d.Findings))
	}
	if len(d.Exempted) > 0 {
		response.AuditAnnotations[annotationExemptions] = boundedJSON(d.Exempted)
	}
	return response, outcome
}

// internalError answers a request that capvet failed on: as the strictest of
// the policies would a scan error, with a warning where they are not known.
func internalError(policies []policy.Policy) admission.Response {
	const text = "capvet failed on this request, so its images were not inspected; capvet's log has the details"
	action := v1alpha1.ActionWarn
	if len(policies) > 0 {
		action = policy.OnInternalError(policies)
	}
	response := admission.Allowed("")
	switch action {
	case v1alpha1.ActionReject:
		response = admission.Denied(text + " (rejected by a policy's onScanError)")
	case v1alpha1.ActionWarn:
		response = response.WithWarnings(text)
	}
	response.AuditAnnotations = map[string]string{annotationDecision: string(action), annotationError: text}
	return response
}

// summary is a finding for logs and audit annotations.
type summary struct {
	Action       v1alpha1.Action     `json:"action"`
	Policy       string              `json:"policy"`
	Pods         v1alpha1.Action     `json:"pods,omitempty"`
	Rule         policy.Rule         `json:"rule"`
	Containers   []string            `json:"containers"`
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

func summaries(findings []policy.Finding) []summary {
	out := make([]summary, 0, len(findings))
	for _, f := range findings {
		s := summary{
			Action: f.Action, Policy: f.Policy, Pods: f.Pods, Rule: f.Rule,
			Containers: f.Image.Containers, Image: f.Image.Reference, Architecture: f.Image.Architecture,
		}
		if f.Image.Report != nil && f.Image.Report.Image != "" {
			s.Image = f.Image.Report.Image
		}
		if f.Binary != nil {
			s.Path, s.Product, s.ABI, s.Basis = f.Binary.Path, f.Binary.Product, f.Binary.Capset.ABI, f.Binary.Capset.Basis
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
		out = append(out, s)
	}
	return out
}

// boundedJSON returns as many of the values as fit, as a JSON array that ends
// with the number of those left out.
func boundedJSON[T any](values []T) string {
	var elements []string
	size := 0
	for i, v := range values {
		encoded, err := json.Marshal(v)
		if err != nil { // plain values always encode
			continue
		}
		if size += len(encoded) + 1; size > maxAnnotation {
			elements = append(elements, fmt.Sprintf(`{"more":%d}`, len(values)-i))
			break
		}
		elements = append(elements, string(encoded))
	}
	return "[" + strings.Join(elements, ",") + "]"
}
