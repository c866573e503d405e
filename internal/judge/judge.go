// Package judge is the one way from an object to a decision: it chooses the images to
// read, has each read once, adds mounted configuration files, and evaluates the
// policies. The webhook and the command line differ only in the Sources they supply.
//
// It is pure: no client, registry, logger or clock. It is not for decoding objects
// (see subject) or for choosing nodes (see placement); both reach it as values. Images
// and files are untrusted; their number is bounded here, their size by the Sources.
package judge

import (
	"slices"
	"time"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// Subject is the object to judge.
type Subject struct {
	// Workload reports whether it is a template of Pods rather than a Pod.
	Workload bool
	// Images are those to judge, without architecture, report and failure.
	Images []policy.Image
	// Architectures returns the candidates (GOARCH names) on which its Pods can land.
	Architectures func(candidates []string) []string
	// ConfigMapFile returns the ConfigMap and key behind a file of a container, by the
	// file's clean, absolute path; false if the file is not from a ConfigMap. Nil:
	// mounted files stay unknown.
	ConfigMapFile func(container, file string) (configMap, key string, ok bool)
}

// Sources read the facts that a decision rests on.
type Sources struct {
	// Image reads one image. It is called from several goroutines. A class of error
	// comes from report.ClassOf.
	Image func(Wanted) (report.Report, error)
	// Settings reads a configuration file of a ConfigMap in the subject's namespace;
	// false if it is unknown. Nil: all are.
	Settings func(configMap, key string) (report.Settings, bool)
}

// Decide judges a subject under policies, all of which apply to its Pods. It reports
// false, with a decision of Ignore, where there is nothing to judge: no image, no
// policy or no architecture.
func Decide(now time.Time, policies []policy.Policy, s Subject, from Sources) (policy.Decision, bool) {
	architectures := s.Architectures(policy.Architectures(policies))
	images := slices.Clone(bounded(s.Images))
	policy.Exempt(now, policies, images)
	images = policy.Spread(images, architectures)
	if len(images) == 0 {
		return policy.Decision{Action: policy.ActionIgnore}, false
	}
	readImages(now, policies, images, from.Image)
	if s.ConfigMapFile != nil && from.Settings != nil {
		readMounted(now, policies, images, s.ConfigMapFile, from.Settings)
	}
	if !s.Workload {
		return policy.Evaluate(now, policies, images), true
	}
	decision := policy.EvaluateWorkload(now, policies, images)
	silent := func(p policy.Policy) bool { return p.Workloads == policy.ActionIgnore }
	if decision.Action == policy.ActionIgnore && slices.ContainsFunc(policies, silent) {
		decision.PodsRejected = rejections(policy.Evaluate(now, policies, images))
	}
	return decision, true
}

// rejections returns the findings of a decision about Pods as findings about their
// workload, if it rejects the Pods.
func rejections(pods policy.Decision) []policy.Finding {
	if pods.Action != policy.ActionReject {
		return nil
	}
	for i := range pods.Findings {
		f := &pods.Findings[i]
		f.Pods, f.PodsPolicy, f.Action = f.Action, f.Policy, policy.ActionIgnore
	}
	return pods.Findings
}
