package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/capvet/capvet/internal/report"
)

// maxFindings bounds the findings of a decision, and with them the memory of a request: a
// Pod can have some hundred images, each with as many binaries at fault.
const maxFindings = 1024

// Image is one image of a Pod on one architecture.
type Image struct {
	// Containers are the names of the Pod's containers that run it.
	Containers []string
	// Reference is the image as the Pod writes it, Name the same with default registry,
	// repository and tag filled in, to match exemptions against.
	Reference, Name string
	// Exempting holds the exemptions of the image by the policy's name; nil before Exempt.
	Exempting map[string]*Exemption
	// Run describes how those containers run it.
	Run Run
	// Architecture is a GOARCH name.
	Architecture string
	// Report holds the facts about the image, Failure the error in reading it. At most one
	// is set; both are nil where no policy wanted it read.
	Report  *report.Report
	Failure *report.Failure
}

// FailureClass returns the class of the error in reading the image.
func (i Image) FailureClass() report.FailureClass {
	if i.Failure == nil {
		return report.FailureInternal
	}
	return i.Failure.Class
}

// Spread returns each image once for each architecture.
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

// Rule is the field of a policy that a finding comes from.
type Rule string

// Rules.
const (
	RuleLegacy    Rule = "action"      // a binary uses a legacy ABI
	RuleUnknown   Rule = "onUnknown"   // it is unknown whether one does
	RuleScanError Rule = "onScanError" // the image could not be read
)

// uncertainty orders rules by how little is known about the image.
func (r Rule) uncertainty() int {
	return slices.Index([]Rule{RuleLegacy, RuleUnknown, RuleScanError}, r)
}

// Finding is one fault of one image.
type Finding struct {
	// Action is the strictest action of all policies, and Policy the policy with it.
	Action Action
	Policy string
	// Pods is the strictest action that a workload's Pods will get, and PodsPolicy the
	// policy with it; both are empty for a Pod.
	Pods       Action
	PodsPolicy string
	Rule       Rule
	Image      Image
	// Binary is set for RuleLegacy, and for RuleUnknown about a binary.
	Binary *report.Binary
	// Trigger describes when the binary's calls run in this Pod; nil if it makes no known
	// call.
	Trigger *report.Trigger
	// Advice is about Binary in this Pod: sentences, the most important first.
	Advice []string
	// Gap is set for RuleUnknown about an unread part of the image.
	Gap *report.Gap
}

// Exempted is an image that a policy exempts.
type Exempted struct {
	Image  string `json:"image"`
	Policy string `json:"policy"`
	Reason string `json:"reason"`
}

// NotRead is an image with unread layers, because it shows no sign of a known product and no
// policy wants all images read. It is neither clean nor at fault.
type NotRead struct {
	Image        string `json:"image"`
	Architecture string `json:"architecture"`
}

// Decision is the result of all matching policies.
type Decision struct {
	// Action is the strictest of all findings, ActionIgnore without any.
	Action Action
	// Findings, without those of ActionIgnore, are sorted: strictest first, then legacy
	// before unknown before scan error, then by container, architecture and path.
	Findings []Finding
	// Omitted counts the findings beyond maxFindings, which come after those.
	Omitted int
	// Exempted are sorted by image and policy.
	Exempted []Exempted
	// NotRead are sorted by image and architecture.
	NotRead []NotRead
	// PodsRejected are, for a workload with ActionIgnore, the findings for which its Pods
	// will be rejected all the same, in the order of Findings.
	PodsRejected []Finding
}

// Evaluate judges images under policies, all of which match the Pod. Each policy is
// evaluated on its own; for each fault the strictest action wins, and among equals the
// first policy by name.
func Evaluate(now time.Time, policies []Policy, images []Image) Decision {
	return evaluate(now, policies, images, false)
}

// EvaluateWorkload judges the images of a workload's template as Evaluate does, but for
// Reject, in place of which the workload gets the policy's Workloads.
func EvaluateWorkload(now time.Time, policies []Policy, images []Image) Decision {
	return evaluate(now, policies, images, true)
}

func evaluate(now time.Time, policies []Policy, images []Image, workload bool) Decision {
	decision := Decision{Action: ActionIgnore}
	if !slices.IsSortedFunc(policies, Compare) {
		policies = slices.SortedFunc(slices.Values(policies), Compare)
	}
	for _, image := range images {
		decision.add(now, policies, image, workload)
	}
	decision.bound()
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

// add judges one image.
func (d *Decision) add(now time.Time, policies []Policy, image Image, workload bool) {
	var faults []Finding // found once for all policies
	exempting := image.exempting(now, policies)
	unread := notRead(image)
	for i := range policies {
		p := &policies[i]
		if !slices.Contains(p.Architectures, image.Architecture) {
			continue
		}
		if e := exempting[p.Name]; e != nil {
			d.Exempted = append(d.Exempted, Exempted{Image: image.Reference, Policy: p.Name, Reason: e.Reason})
			continue
		}
		if unread {
			d.NotRead = append(d.NotRead, NotRead{Image: image.Reference, Architecture: image.Architecture})
		}
		if faults == nil {
			faults = faultsOf(image)
		}
		for j := range faults {
			p.respond(&faults[j], unread, workload)
		}
	}
	for i := range faults {
		if f := &faults[i]; f.Action != ActionIgnore {
			d.Action = Stricter(d.Action, f.Action)
			d.Findings = append(d.Findings, *f)
		}
	}
	if len(d.Findings) > 2*maxFindings {
		d.bound()
	}
}

// bound keeps the first findings in their order.
func (d *Decision) bound() {
	slices.SortStableFunc(d.Findings, compareFindings)
	if more := len(d.Findings) - maxFindings; more > 0 {
		d.Findings, d.Omitted = slices.Clip(slices.Clone(d.Findings[:maxFindings])), d.Omitted+more
	}
}

// notRead reports whether the image was left unread for want of a hint.
func notRead(image Image) bool {
	return image.Report != nil && slices.ContainsFunc(image.Report.Gaps, func(g report.Gap) bool { return g.Reason == report.GapNotRead })
}

// compareFindings orders by strictness, certainty, container, architecture and path.
func compareFindings(a, b Finding) int {
	path := func(f Finding) string {
		if f.Binary != nil {
			return f.Binary.Path
		}
		return ""
	}
	return cmp.Or(
		cmp.Compare(b.Action.strictness(), a.Action.strictness()),
		cmp.Compare(a.Rule.uncertainty(), b.Rule.uncertainty()),
		cmp.Compare(firstContainer(a), firstContainer(b)),
		cmp.Compare(a.Image.Architecture, b.Image.Architecture),
		cmp.Compare(path(a), path(b)),
	)
}

// firstContainer returns the first container of a finding's image. The others never decide: a
// container is in one image, and there may be thousands.
func firstContainer(f Finding) string {
	if len(f.Image.Containers) == 0 {
		return ""
	}
	return f.Image.Containers[0]
}

// Unjudged returns the policies' strictest action for an object that cannot be judged, by the
// class of the error.
func Unjudged(policies []Policy, class report.FailureClass, workload bool) Action {
	strictest := ActionIgnore
	for i := range policies {
		action := policies[i].scanErrorAction(class)
		if workload && action == ActionReject {
			action = policies[i].Workloads
		}
		strictest = Stricter(strictest, action)
	}
	return strictest
}
