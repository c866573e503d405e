package policy

import (
	"strings"
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/report"
)

func triggered(product string, when report.When) *report.Binary {
	return &report.Binary{
		Path: "/usr/local/sbin/" + product, Product: &report.Product{Name: product},
		Capset: report.Capset{ABI: report.ABIV1}, Trigger: &report.Trigger{When: when, Why: "as the report says"},
	}
}

func TestTrigger(t *testing.T) {
	const start, conditional, unknown = report.WhenStart, report.WhenConditional, report.WhenUnknown
	for _, tt := range []struct {
		name    string
		product string
		base    report.When
		run     Run
		want    report.When
		why     string // part of it
	}{
		{"the image's user", "haproxy", start, Run{}, start, "as the report says"},
		{"non-root", "haproxy", start, Run{User: UserNonRoot}, start, "at every start, unless global has user or uid"},
		{"root", "haproxy", start, Run{User: UserRoot}, conditional, "only with user or uid and setcap in global"},
		{"an older one, root", "haproxy", conditional, Run{User: UserRoot}, conditional, "user or uid and setcap in global"},
		{"an older one, non-root", "haproxy", conditional, Run{User: UserNonRoot}, conditional, "this Pod does not start it as root"},
		{"nginx, non-root", "nginx", conditional, Run{User: UserNonRoot}, conditional, "this Pod does not start it as root"},
		{"nginx, root", "nginx", conditional, Run{User: UserRoot}, conditional, "transparent"},
		{"a product of no known ways", "other", start, Run{User: UserRoot}, start, "as the report says"},
		{"its command", "haproxy", start, Run{Command: []string{"/usr/local/sbin/haproxy", "-f", "x"}, User: UserNonRoot}, start, "at every start"},
		{"a script with it", "haproxy", start, Run{Command: []string{"sh", "-c", "exec haproxy -f /x"}}, start, "as the report says"},
		{"another command", "haproxy", start, Run{Command: []string{"sleep", "1"}, User: UserNonRoot}, unknown, "(sleep)"},
	} {
		got := tt.run.Trigger(triggered(tt.product, tt.base))
		if got.When != tt.want || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
	if got := (Run{User: UserRoot}).Trigger(&report.Binary{}); got != nil {
		t.Errorf("nothing to trigger: got %+v", got)
	}
}

// TestEvaluateTrigger: a policy for what triggers at start leaves the
// conditional alone and judges the unknown by onUnknown.
func TestEvaluateTrigger(t *testing.T) {
	const ignore, audit, reject = v1alpha1.ActionIgnore, v1alpha1.ActionAudit, v1alpha1.ActionReject
	for _, tt := range []struct {
		trigger v1alpha1.Trigger
		when    report.When // empty: nothing is known
		want    v1alpha1.Action
		rule    Rule
	}{
		{"", report.WhenStart, reject, RuleLegacy}, {"", report.WhenConditional, reject, RuleLegacy}, {"", report.WhenUnknown, reject, RuleLegacy}, {"", "", reject, RuleLegacy},
		{v1alpha1.TriggerAny, report.WhenConditional, reject, RuleLegacy},
		{v1alpha1.TriggerStart, report.WhenStart, reject, RuleLegacy},
		{v1alpha1.TriggerStart, report.WhenConditional, ignore, ""},
		{v1alpha1.TriggerStart, report.WhenUnknown, audit, RuleUnknown},
		{v1alpha1.TriggerStart, "", audit, RuleUnknown},
	} {
		image := imageWith(report.ABIV1)
		if tt.when != "" {
			image.Report.Binaries[0].Trigger = &report.Trigger{When: tt.when}
		}
		p := cluster(t, "p", v1alpha1.CapsetPolicySpec{Action: reject, OnUnknown: audit, Trigger: tt.trigger})
		got := Evaluate(now, []Policy{p}, []Image{image})
		if got.Action != tt.want || (len(got.Findings) > 0 && got.Findings[0].Rule != tt.rule) {
			t.Errorf("trigger %q, when %q: got %+v", tt.trigger, tt.when, got)
		}
	}
	// The rule is that of the policy with the strictest action.
	image := imageWith(report.ABIV1)
	start := cluster(t, "a", v1alpha1.CapsetPolicySpec{Action: reject, OnUnknown: audit, Trigger: v1alpha1.TriggerStart})
	any := cluster(t, "b", v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn})
	if got := Evaluate(now, []Policy{start, any}, []Image{image}).Findings[0]; got.Action != v1alpha1.ActionWarn || got.Rule != RuleLegacy || got.Policy != any.Name {
		t.Errorf("got %+v", got)
	}
}
