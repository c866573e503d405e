package policy

import (
	"slices"

	"github.com/capvet/capvet/internal/report"
)

// faultsOf lists the faults of one image, without the responses of policies. They and their
// order depend on the image alone.
func faultsOf(image Image) []Finding {
	if image.Report == nil {
		return []Finding{{Image: image}}
	}
	findings := []Finding{}
	clean := true // as far as policies for proxies are concerned
	assessor := image.Run.assessor(image.Report)
	for i := range image.Report.Binaries {
		binary := &image.Report.Binaries[i]
		if report.WorseABI(binary.Capset.ABI, report.ABIUnknown) != binary.Capset.ABI {
			continue // neither legacy nor unknown
		}
		assessed := assessor.assess(binary)
		findings = append(findings, Finding{Image: image, Binary: binary, Trigger: assessed.trigger, Advice: assessed.advice})
		clean = clean && binary.Other
	}
	// Unread parts may hold anything: without a finding the image would count as clean.
	if clean && !image.Report.Complete {
		gap := &report.Gap{Where: image.Reference, Reason: "incomplete", Detail: "not all of the image was read"}
		if gaps := image.Report.Gaps; len(gaps) > 0 {
			gap = &gaps[max(slices.IndexFunc(gaps, func(g report.Gap) bool { return !g.Other }), 0)]
		}
		findings = append(findings, Finding{Image: image, Gap: gap})
	}
	return findings
}

// legacy returns the rule and action for a legacy call.
func (p *Policy) legacy(trigger *report.Trigger) (Rule, Action) {
	switch {
	case !p.StartOnly, trigger != nil && trigger.When == report.WhenStart:
		return RuleLegacy, p.Action
	case trigger != nil && trigger.When == report.WhenConditional:
		return RuleLegacy, ActionIgnore
	}
	return RuleUnknown, p.OnUnknown
}

// respond records p's response to a fault if it is the first, or stricter than those before it.
func (p *Policy) respond(f *Finding, unread, workload bool) {
	rule, action := p.response(f, unread)
	pods := Action("")
	if workload {
		pods = action
		if action == ActionReject {
			action = p.Workloads
		}
	}
	if f.Policy == "" || Stricter(f.Action, action) != f.Action {
		f.Action, f.Policy, f.Rule = action, p.Name, rule
	}
	if workload && (f.PodsPolicy == "" || Stricter(f.Pods, pods) != f.Pods) {
		f.Pods, f.PodsPolicy = pods, p.Name
	}
}

// response returns p's rule and action for a fault. unread: the image was left unread for want
// of a hint.
func (p *Policy) response(f *Finding, unread bool) (Rule, Action) {
	switch {
	case f.Image.Report == nil:
		return RuleScanError, p.scanErrorAction(f.Image.FailureClass())
	case f.Binary == nil:
		// The gap may be outside the scope of this policy.
		if unread && !p.AllImages || f.Gap.Other && !p.AllBinaries {
			return RuleUnknown, ActionIgnore
		}
		return RuleUnknown, p.OnUnknown
	}
	rule, action := RuleUnknown, p.OnUnknown
	if f.Binary.Capset.ABI.Legacy() {
		rule, action = p.legacy(f.Trigger)
	}
	if f.Binary.Other && !p.AllBinaries {
		action = ActionIgnore
	}
	return rule, action
}
