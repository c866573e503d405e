package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/sarif"
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

// writeChecked writes the decisions in a format.
func writeChecked(w io.Writer, format string, all []checked) error {
	switch format {
	case formatJSON:
		return writeCheckJSON(w, all)
	case formatSARIF:
		return writeCheckSARIF(w, all)
	}
	return writeCheckText(w, all)
}

// name returns the object's name, or the prefix of the name that the API server will generate.
func (c checked) name() string {
	return cmp.Or(c.Metadata.Name, c.Metadata.GenerateName)
}

// lineOf returns the line of the manifest with the image of a finding.
func (c checked) lineOf(f policy.Finding) int {
	if len(f.Image.Containers) == 0 {
		return c.Line
	}
	return c.ContainerLine(subject.TemplatePath(c.Kind), f.Image.Containers[0])
}

// words returns the lines about a finding, the headline first.
func words(f policy.Finding) []string {
	lines := []string{wording.Headline(f)}
	if f.Pods == policy.ActionReject && f.Action != policy.ActionReject { // a rejected workload has no Pods
		lines = append(lines, "Pods of this template will be rejected by "+f.PodsPolicy)
	}
	return wording.Lines(slices.Concat(lines, f.Advice, wording.Evidence(f)))
}

func writeCheckText(w io.Writer, all []checked) error {
	for _, c := range all {
		if _, err := fmt.Fprintf(w, "%s:%d: %s %s/%s: %s\n", clean(c.File), c.Line, clean(c.Kind), clean(c.namespace),
			clean(c.name()), c.decision.Action); err != nil {
			return err
		}
		for _, f := range c.decision.Findings {
			lines := words(f)
			fmt.Fprintf(w, "%s:%d: %s by %s: %s\n", clean(c.File), c.lineOf(f), f.Action, clean(f.Policy), clean(lines[0]))
			for _, line := range lines[1:] {
				fmt.Fprintf(w, "  %s\n", clean(line))
			}
		}
		for _, n := range c.decision.NotRead {
			fmt.Fprintf(w, "  not read: no sign of a known product: %s on %s\n", clean(n.Image), clean(n.Architecture))
		}
		for _, e := range c.decision.Exempted {
			fmt.Fprintf(w, "  exempt from %s: %s: %s\n", clean(e.Policy), clean(e.Image), clean(e.Reason))
		}
	}
	return nil
}

// checkedJSON is the decision about one object. Fields may be added.
type checkedJSON struct {
	File      string            `json:"file"`
	Line      int               `json:"line"`
	Kind      string            `json:"kind"`
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Action    policy.Action     `json:"action"`
	Findings  []findingJSON     `json:"findings"`
	Exempted  []policy.Exempted `json:"exempted,omitempty"`
	NotRead   []policy.NotRead  `json:"notRead,omitempty"`
}

type findingJSON struct {
	Line         int             `json:"line"`
	Action       policy.Action   `json:"action"`
	Policy       string          `json:"policy"`
	Pods         policy.Action   `json:"pods,omitempty"`
	PodsPolicy   string          `json:"podsPolicy,omitempty"`
	Rule         policy.Rule     `json:"rule"`
	Containers   []string        `json:"containers"`
	Image        string          `json:"image"`
	Architecture string          `json:"architecture"`
	Message      []string        `json:"message"`
	Binary       *report.Binary  `json:"binary,omitempty"`
	Trigger      *report.Trigger `json:"trigger,omitempty"`
	Gap          *report.Gap     `json:"gap,omitempty"`
	Error        string          `json:"error,omitempty"`
}

func writeCheckJSON(w io.Writer, all []checked) error {
	out := []checkedJSON{}
	for _, c := range all {
		object := checkedJSON{
			File: c.File, Line: c.Line, Kind: c.Kind, Namespace: c.namespace, Name: c.name(), Action: c.decision.Action,
			Findings: []findingJSON{}, Exempted: c.decision.Exempted, NotRead: c.decision.NotRead,
		}
		for _, f := range c.decision.Findings {
			finding := findingJSON{
				Line: c.lineOf(f), Action: f.Action, Policy: f.Policy, Pods: f.Pods, PodsPolicy: f.PodsPolicy, Rule: f.Rule,
				Containers: f.Image.Containers, Image: f.Image.Reference, Architecture: f.Image.Architecture, Message: words(f),
				Binary: f.Binary, Trigger: f.Trigger, Gap: f.Gap,
			}
			if f.Image.Failure != nil {
				finding.Error = string(f.Image.Failure.Class)
			}
			object.Findings = append(object.Findings, finding)
		}
		out = append(out, object)
	}
	return writeJSON(w, out)
}

func writeCheckSARIF(w io.Writer, all []checked) error {
	ids := map[policy.Rule]string{
		policy.RuleLegacy: "legacy-capability-abi", policy.RuleUnknown: "unknown-capability-abi", policy.RuleScanError: "image-not-read",
	}
	tool := sarif.Tool{Name: "capvet", Version: version, URI: "https://github.com/capvet/capvet", Rules: []sarif.Rule{
		{ID: ids[policy.RuleLegacy], Description: "An image's program uses the kernel's legacy 32-bit capability ABI.",
			Help: "Move to a release of the program that uses version 3 of the ABI, or exempt the image in the policy."},
		{ID: ids[policy.RuleUnknown], Description: "It could not be told whether an image's program uses the legacy capability ABI.",
			Help: "Look at the unread parts, or exempt the image in the policy."},
		{ID: ids[policy.RuleScanError], Description: "An image could not be read.", Help: "Check the reference and the credentials."},
	}}
	levels := map[policy.Action]sarif.Level{
		policy.ActionReject: sarif.LevelError, policy.ActionWarn: sarif.LevelWarning,
		policy.ActionAudit: sarif.LevelNote, policy.ActionIgnore: sarif.LevelNote,
	}
	var results []sarif.Result
	for _, c := range all {
		for _, f := range c.decision.Findings {
			results = append(results, sarif.Result{RuleID: ids[f.Rule], Level: levels[policy.Stricter(f.Action, f.Pods)],
				Message: sarif.Text(wording.Join(words(f))), File: c.File, Line: c.lineOf(f)})
		}
	}
	return sarif.Write(w, tool, results)
}
