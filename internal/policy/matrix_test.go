package policy_test

import (
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// TestMatrix is the complete matrix of a policy and one finding: each action of
// each field, each verdict, each time of its calls, for Pods and for workloads.
// The expectations are the rules of the documentation.
func TestMatrix(t *testing.T) {
	actions := []v1alpha1.Action{v1alpha1.ActionIgnore, v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject}
	const none = policy.Rule("")
	// The rule that a verdict falls under, by the time of its calls, for a policy
	// with trigger Any and for one with Start. leave: no rule, for this policy.
	const leave = policy.Rule("left alone")
	type pair struct{ any, start policy.Rule }
	legacy := map[report.When]pair{
		report.WhenStart: {policy.RuleLegacy, policy.RuleLegacy}, report.WhenConditional: {policy.RuleLegacy, leave},
		report.WhenUnknown: {policy.RuleLegacy, policy.RuleUnknown}, "": {policy.RuleLegacy, policy.RuleUnknown},
	}
	unknown, clean := pair{policy.RuleUnknown, policy.RuleUnknown}, pair{none, none}
	expected := map[report.ABI]map[report.When]pair{}
	for abi, rules := range map[report.ABI]pair{
		report.ABIUnknown: unknown, "v4": unknown,
		report.ABINegotiated: clean, report.ABIV3: clean, report.ABILibrary: clean, report.ABINone: clean,
	} {
		expected[abi] = map[report.When]pair{report.WhenStart: rules, report.WhenConditional: rules, report.WhenUnknown: rules, "": rules}
	}
	expected[report.ABIV1], expected[report.ABIV2] = legacy, legacy
	// The action for a workload whose Pods are rejected.
	rejected := map[v1alpha1.WorkloadAction]v1alpha1.Action{
		"": v1alpha1.ActionWarn, v1alpha1.WorkloadIgnore: v1alpha1.ActionIgnore, v1alpha1.WorkloadWarn: v1alpha1.ActionWarn,
		v1alpha1.WorkloadReject: v1alpha1.ActionReject,
	}
	cells := 0
	check := func(p policy.Policy, image policy.Image, rule policy.Rule, pods v1alpha1.Action, workloads v1alpha1.WorkloadAction) {
		t.Helper()
		cells++
		workload := pods
		if pods == v1alpha1.ActionReject {
			workload = rejected[workloads]
		}
		checkCell(t, p, image, rule, policy.Action(pods), policy.Action(workload))
	}
	for _, action := range actions {
		for _, onUnknown := range actions {
			for workloads := range rejected {
				for _, trigger := range []v1alpha1.Trigger{"", v1alpha1.TriggerAny, v1alpha1.TriggerStart} {
					for _, binaries := range []v1alpha1.BinarySelection{"", v1alpha1.BinariesProxies, v1alpha1.BinariesAll} {
						p := cluster(t, "p", v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: onUnknown, Workloads: workloads,
							Trigger: trigger, Binaries: binaries})
						for abi, byTime := range expected {
							for when, rules := range byTime {
								for _, other := range []bool{false, true} {
									image := imageWith(abi)
									image.Report.Binaries[0].Other = other
									if when != "" {
										image.Report.Binaries[0].Trigger = &report.Trigger{When: when}
									}
									rule := rules.any
									if trigger == v1alpha1.TriggerStart {
										rule = rules.start
									}
									if other && binaries != v1alpha1.BinariesAll {
										rule = leave
									}
									want := map[policy.Rule]v1alpha1.Action{policy.RuleLegacy: action, policy.RuleUnknown: onUnknown,
										leave: v1alpha1.ActionIgnore, none: v1alpha1.ActionIgnore}[rule]
									check(p, image, rule, want, workloads)
								}
							}
						}
					}
				}
				for _, images := range []v1alpha1.ImageSelection{"", v1alpha1.ImagesHinted, v1alpha1.ImagesAll} {
					p := cluster(t, "p", v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: onUnknown, Workloads: workloads, Images: images})
					check(p, imageIncomplete(), policy.RuleUnknown, onUnknown, workloads)
					unread := imageWith()
					unread.Report.Complete, unread.Report.Gaps = false, []report.Gap{{Reason: report.GapNotRead}}
					want := v1alpha1.ActionIgnore
					if images == v1alpha1.ImagesAll {
						want = onUnknown
					}
					check(p, unread, policy.RuleUnknown, want, workloads)
				}
				for _, class := range append(report.FailureClasses(), report.FailureInternal) {
					p := cluster(t, "p", v1alpha1.CapsetPolicySpec{OnScanError: v1alpha1.ScanErrorActions{Default: action}, Workloads: workloads})
					check(p, imageFailed(class), policy.RuleScanError, action, workloads)
				}
			}
		}
	}
	// Of two policies the stricter action counts.
	for _, a := range actions {
		for _, b := range actions {
			two := []policy.Policy{cluster(t, "a", v1alpha1.CapsetPolicySpec{Action: a}), cluster(t, "b", v1alpha1.CapsetPolicySpec{Action: b})}
			strictest := policy.Stricter(policy.Action(a), policy.Action(b))
			if got := policy.Evaluate(now, two, []policy.Image{imageWith(report.ABIV1)}); got.Action != strictest {
				t.Errorf("%s and %s come to %s", a, b, got.Action)
			}
			cells++
		}
	}
	t.Logf("%d cells", cells)
}

// checkCell judges one image under one policy, as a Pod's and as a workload's.
func checkCell(t *testing.T, p policy.Policy, image policy.Image, rule policy.Rule, pods, workload policy.Action) {
	t.Helper()
	for _, tt := range []struct {
		got        policy.Decision
		want, pods policy.Action
	}{
		{policy.Evaluate(now, []policy.Policy{p}, []policy.Image{image}), pods, ""},
		{policy.EvaluateWorkload(now, []policy.Policy{p}, []policy.Image{image}), workload, pods},
	} {
		findings := 1
		if tt.want == policy.ActionIgnore {
			findings = 0
		}
		if tt.got.Action != tt.want || len(tt.got.Findings) != findings {
			t.Fatalf("%+v on %+v: got %+v, want %s", p, image, tt.got, tt.want)
		}
		for _, f := range tt.got.Findings {
			if f.Rule != rule || f.Action != tt.want || f.Pods != tt.pods || f.Policy != p.Name {
				t.Fatalf("%+v on %+v: got %+v, want %s by %s", p, image, f, tt.want, rule)
			}
		}
	}
}
