package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/report"
)

// Image is one image of a Pod on one architecture, as far as it was read.
type Image struct {
	// Containers are the names of the Pod's containers that run it.
	Containers []string
	// Reference is the image as the Pod writes it.
	Reference string
	// Name is the reference with default registry, repository and tag filled
	// in: what exemptions are matched against.
	Name string
	// Run is how those containers run it.
	Run Run
	// Architecture is a GOARCH name.
	Architecture string
	// Report is what was found; nil when the image was not read.
	Report *report.Report
	// Failure says why the image could not be read. Exactly one of Report and
	// Failure is set.
	Failure *report.Failure
}

// Spread returns each image once for each architecture, nil if there is none.
func Spread(images []Image, architectures []string) []Image {
	var spread []Image
	for _, image := range images {
		for _, arch := range architectures {
			image.Architecture = arch
			spread = append(spread, image)
		}
	}
	return spread
}

// Rule names the part of a policy that a finding comes from.
type Rule string

// Rules.
const (
	RuleLegacy    Rule = "action"      // a binary uses a legacy ABI
	RuleUnknown   Rule = "onUnknown"   // it could not be told whether one does
	RuleScanError Rule = "onScanError" // the image could not be read
)

// uncertainty orders rules by how little is known of what they find fault with.
func (r Rule) uncertainty() int {
	switch r {
	case RuleLegacy:
		return 0
	case RuleUnknown:
		return 1
	}
	return 2
}

// Finding is one fault found with one image.
type Finding struct {
	// Action is the strictest that a matching policy has for it.
	Action v1alpha1.Action
	// Policy names the policy with that action.
	Policy string
	// Pods is the strictest action that a workload's Pods will get for it, and
	// PodsPolicy the policy with that; both are empty when a Pod was judged.
	Pods       v1alpha1.Action
	PodsPolicy string
	Rule       Rule
	Image      Image
	// Binary is set for RuleLegacy, and for RuleUnknown when it is about one.
	Binary *report.Binary
	// Trigger says when the binary's calls run in this Pod; nil when there is
	// nothing to say.
	Trigger *report.Trigger
	// Gap is set for RuleUnknown when it is about a part of the image that was
	// not read.
	Gap *report.Gap
}

// Exempted is an image that a policy left alone.
type Exempted struct {
	Image  string `json:"image"`
	Policy string `json:"policy"`
	Reason string `json:"reason"`
}

// NotRead is an image whose layers nobody read, since nothing about it hints at
// a known product and no policy wants all images read. Nothing is known of it:
// it is neither clean nor at fault.
type NotRead struct {
	Image        string `json:"image"`
	Architecture string `json:"architecture"`
}

// Decision is what the matching policies come to together.
type Decision struct {
	// Action is the strictest of all findings, ActionIgnore when there is none.
	Action v1alpha1.Action
	// Findings are sorted: strictest first, then legacy before unknown before
	// scan error, then by container, architecture and path. Those with
	// ActionIgnore are left out.
	Findings []Finding
	// Exempted are sorted by image and policy.
	Exempted []Exempted
	// NotRead are sorted by image and architecture.
	NotRead []NotRead
}

// Evaluate judges images under policies, all of which match the Pod. Each
// policy is evaluated on its own; for each fault the strictest action wins, and
// among equals the policy that comes first by name.
func Evaluate(now time.Time, policies []Policy, images []Image) Decision {
	return evaluate(now, policies, images, false)
}

// EvaluateWorkload judges the images of a workload's template. Where a policy
// would reject its Pods, the workload gets what that policy's workloads field
// says; everything else is as for a Pod.
func EvaluateWorkload(now time.Time, policies []Policy, images []Image) Decision {
	return evaluate(now, policies, images, true)
}

func evaluate(now time.Time, policies []Policy, images []Image, workload bool) Decision {
	decision := Decision{Action: v1alpha1.ActionIgnore}
	if !slices.IsSortedFunc(policies, Compare) {
		policies = slices.SortedFunc(slices.Values(policies), Compare)
	}
	for _, image := range images {
		var findings []Finding // of this image; each policy yields them in the same order
		for i := range policies {
			p := &policies[i]
			if !slices.Contains(p.architectures, image.Architecture) {
				continue
			}
			if e, exempt := p.exempts(now, image.Name); exempt {
				decision.Exempted = append(decision.Exempted, Exempted{Image: image.Reference, Policy: p.Name, Reason: e.reason})
				continue
			}
			if notRead(image) {
				decision.NotRead = append(decision.NotRead, NotRead{Image: image.Reference, Architecture: image.Architecture})
			}
			judged := p.judge(image)
			for j := range judged {
				if workload {
					judged[j].Pods, judged[j].PodsPolicy = judged[j].Action, p.Name
					judged[j].Action = p.onWorkload(judged[j].Action)
				}
			}
			if findings == nil {
				findings = judged
				continue
			}
			for j := range judged {
				findings[j] = stricter(findings[j], judged[j])
			}
		}
		for _, f := range findings {
			if f.Action != v1alpha1.ActionIgnore {
				decision.Action = v1alpha1.Stricter(decision.Action, f.Action)
				decision.Findings = append(decision.Findings, f)
			}
		}
	}
	slices.SortStableFunc(decision.Findings, compareFindings)
	slices.SortFunc(decision.Exempted, func(a, b Exempted) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Reason, b.Reason))
	})
	decision.Exempted = slices.Compact(decision.Exempted)
	slices.SortFunc(decision.NotRead, func(a, b NotRead) int {
		return cmp.Or(cmp.Compare(a.Image, b.Image), cmp.Compare(a.Architecture, b.Architecture))
	})
	decision.NotRead = slices.Compact(decision.NotRead)
	return decision
}

// stricter returns what two policies come to about one fault.
func stricter(a, b Finding) Finding {
	if v1alpha1.Stricter(a.Action, b.Action) != a.Action {
		a.Action, a.Policy, a.Rule = b.Action, b.Policy, b.Rule
	}
	if v1alpha1.Stricter(a.Pods, b.Pods) != a.Pods {
		a.Pods, a.PodsPolicy = b.Pods, b.PodsPolicy
	}
	return a
}

// notRead says that the image was left unread for want of a hint.
func notRead(image Image) bool {
	return image.Report != nil && slices.ContainsFunc(image.Report.Gaps, func(g report.Gap) bool { return g.Reason == report.GapNotRead })
}

// judge lists the faults of one image with p's actions, Ignore among them. What
// is listed, and in which order, depends on the image alone.
func (p *Policy) judge(image Image) []Finding {
	finding := Finding{Policy: p.Name, Image: image}
	if image.Report == nil {
		class := report.FailureInternal
		if image.Failure != nil {
			class = image.Failure.Class
		}
		finding.Rule, finding.Action = RuleScanError, p.scanErrorAction(class)
		return []Finding{finding}
	}
	findings := []Finding{}
	clean := true // but for what is of no concern to policies for proxies
	for i := range image.Report.Binaries {
		binary := &image.Report.Binaries[i]
		switch {
		case binary.Capset.ABI.Legacy():
			finding.Rule, finding.Action = p.legacy(image.Run.Trigger(binary, image.Report))
		case report.WorseABI(binary.Capset.ABI, report.ABIUnknown) == binary.Capset.ABI:
			finding.Rule, finding.Action = RuleUnknown, p.onUnknown
		default:
			continue
		}
		finding.Binary, finding.Trigger = binary, image.Run.Trigger(binary, image.Report)
		if binary.Other && p.binaries != v1alpha1.BinariesAll {
			finding.Action = v1alpha1.ActionIgnore
		}
		clean = clean && binary.Other
		findings = append(findings, finding)
	}
	// What was not read may hold anything: without a finding the verdict would
	// read as clean.
	if clean && !image.Report.Complete {
		finding.Rule, finding.Action, finding.Binary, finding.Trigger = RuleUnknown, p.onUnknown, nil, nil
		finding.Gap = &report.Gap{Where: image.Reference, Reason: "incomplete", Detail: "not all of the image was read"}
		if gaps := image.Report.Gaps; len(gaps) > 0 {
			first := max(slices.IndexFunc(gaps, func(g report.Gap) bool { return !g.Other }), 0)
			finding.Gap = &gaps[first]
			// What this policy is not about is left alone.
			if notRead(image) && p.images != v1alpha1.ImagesAll || gaps[first].Other && p.binaries != v1alpha1.BinariesAll {
				finding.Action = v1alpha1.ActionIgnore
			}
		}
		findings = append(findings, finding)
	}
	return findings
}

// legacy judges a legacy call by when it runs.
func (p *Policy) legacy(trigger *report.Trigger) (Rule, v1alpha1.Action) {
	switch {
	case p.trigger != v1alpha1.TriggerStart, trigger != nil && trigger.When == report.WhenStart:
		return RuleLegacy, p.action
	case trigger != nil && trigger.When == report.WhenConditional:
		return RuleLegacy, v1alpha1.ActionIgnore
	}
	return RuleUnknown, p.onUnknown
}

// compareFindings orders by strictness, then by how much is known, then by what
// the finding is about.
func compareFindings(a, b Finding) int {
	path := func(f Finding) string {
		if f.Binary != nil {
			return f.Binary.Path
		}
		return ""
	}
	if a.Action != b.Action {
		if v1alpha1.Stricter(a.Action, b.Action) == a.Action {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.Rule.uncertainty(), b.Rule.uncertainty()),
		slices.Compare(a.Image.Containers, b.Image.Containers),
		cmp.Compare(a.Image.Architecture, b.Image.Architecture),
		cmp.Compare(path(a), path(b)),
	)
}

// OnInternalError returns the strictest action that policies have for an error
// inside capvet.
func OnInternalError(policies []Policy) v1alpha1.Action {
	strictest := v1alpha1.ActionIgnore
	for i := range policies {
		strictest = v1alpha1.Stricter(strictest, policies[i].scanErrorAction(report.FailureInternal))
	}
	return strictest
}
