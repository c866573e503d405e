package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
	"github.com/capvet/capvet/internal/report"
)

var now = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

func cluster(t *testing.T, name string, spec v1alpha1.CapsetPolicySpec) policy.Policy {
	t.Helper()
	p, err := policyspec.CompileCluster(&v1alpha1.ClusterCapsetPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.ClusterCapsetPolicySpec{CapsetPolicySpec: spec},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func imageWith(abis ...report.ABI) policy.Image {
	r := report.New()
	for i, abi := range abis {
		r.Binaries = append(r.Binaries, report.Binary{Path: fmt.Sprintf("/bin/%d", i), Capset: report.Capset{ABI: abi}})
	}
	return policy.Image{Containers: []string{"c"}, Reference: "haproxy:3.0", Name: "docker.io/library/haproxy:3.0",
		Architecture: "arm64", Report: &r}
}

func imageFailed(class report.FailureClass) policy.Image {
	i := imageWith()
	i.Report, i.Failure = nil, &report.Failure{Class: class}
	return i
}

func imageIncomplete(abis ...report.ABI) policy.Image {
	i := imageWith(abis...)
	i.Report.Complete = false
	i.Report.Gaps = []report.Gap{{Where: "sha256:00", Reason: "too-large"}}
	return i
}

// outcome is a decision in brief.
func outcome(d policy.Decision) []string {
	lines := []string{string(d.Action)}
	for _, f := range d.Findings {
		what := ""
		if f.Binary != nil {
			what = f.Binary.Path
		}
		if f.Gap != nil {
			what = f.Gap.Reason
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s", f.Action, f.Policy, f.Rule, what))
	}
	for _, e := range d.Exempted {
		lines = append(lines, fmt.Sprintf("exempt %s %s %s", e.Image, e.Policy, e.Reason))
	}
	return lines
}

func TestEvaluate(t *testing.T) {
	warn := v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn}
	reject := v1alpha1.CapsetPolicySpec{
		Action: v1alpha1.ActionReject, OnUnknown: v1alpha1.ActionAudit,
		OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionReject, NotFound: v1alpha1.ActionIgnore},
	}
	exempt := func(pattern string, expires *time.Time) v1alpha1.CapsetPolicySpec {
		e := v1alpha1.Exemption{Images: []string{pattern}, Reason: "because"}
		if expires != nil {
			e.Expires = &metav1.Time{Time: *expires}
		}
		return v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, Exemptions: []v1alpha1.Exemption{e}}
	}
	past, future := now.Add(-time.Second), now.Add(time.Second)
	tests := []struct {
		name     string
		policies map[string]v1alpha1.CapsetPolicySpec
		image    policy.Image
		want     []string
	}{
		{"no policy", nil, imageWith(report.ABIV1), []string{"Ignore"}},
		{"clean", map[string]v1alpha1.CapsetPolicySpec{"w": warn}, imageWith(report.ABIV3, report.ABINone, report.ABILibrary,
			report.ABINegotiated), []string{"Ignore"}},
		{"legacy", map[string]v1alpha1.CapsetPolicySpec{"w": warn}, imageWith(report.ABIV3, report.ABIV1),
			[]string{"Warn", "Warn ClusterCapsetPolicy/w action /bin/1"}},
		{"v2 is legacy too", map[string]v1alpha1.CapsetPolicySpec{"w": warn}, imageWith(report.ABIV2),
			[]string{"Warn", "Warn ClusterCapsetPolicy/w action /bin/0"}},
		{"defaults warn", map[string]v1alpha1.CapsetPolicySpec{"w": {}}, imageWith(report.ABIV1),
			[]string{"Warn", "Warn ClusterCapsetPolicy/w action /bin/0"}},
		{"strictest wins", map[string]v1alpha1.CapsetPolicySpec{"a": warn, "b": reject, "c": warn}, imageWith(report.ABIV1),
			[]string{"Reject", "Reject ClusterCapsetPolicy/b action /bin/0"}},
		{"among equals the first by name", map[string]v1alpha1.CapsetPolicySpec{"b": warn, "a": warn}, imageWith(report.ABIV1),
			[]string{"Warn", "Warn ClusterCapsetPolicy/a action /bin/0"}},
		{"each fault by its own strictest policy", map[string]v1alpha1.CapsetPolicySpec{"w": warn, "r": reject},
			imageWith(report.ABIUnknown, report.ABIV1),
			[]string{"Reject", "Reject ClusterCapsetPolicy/r action /bin/1", "Warn ClusterCapsetPolicy/w onUnknown /bin/0"}},
		{"an ABI nobody knows is unknown", map[string]v1alpha1.CapsetPolicySpec{"w": warn}, imageWith("v9"),
			[]string{"Warn", "Warn ClusterCapsetPolicy/w onUnknown /bin/0"}},
		{"incomplete is not clean", map[string]v1alpha1.CapsetPolicySpec{"w": warn}, imageIncomplete(report.ABIV3),
			[]string{"Warn", "Warn ClusterCapsetPolicy/w onUnknown too-large"}},
		{"incomplete adds nothing to a finding", map[string]v1alpha1.CapsetPolicySpec{"w": warn}, imageIncomplete(report.ABIV1),
			[]string{"Warn", "Warn ClusterCapsetPolicy/w action /bin/0"}},
		{"scan error by default", map[string]v1alpha1.CapsetPolicySpec{"r": reject}, imageFailed(report.FailureTimeout),
			[]string{"Reject", "Reject ClusterCapsetPolicy/r onScanError "}},
		{"scan error by class", map[string]v1alpha1.CapsetPolicySpec{"r": reject}, imageFailed(report.FailureNotFound), []string{"Ignore"}},
		{"internal error by default", map[string]v1alpha1.CapsetPolicySpec{"r": reject}, imageFailed(report.FailureInternal),
			[]string{"Reject", "Reject ClusterCapsetPolicy/r onScanError "}},
		{"other architecture", map[string]v1alpha1.CapsetPolicySpec{"w": {Architectures: []v1alpha1.Architecture{"amd64"}}},
			imageWith(report.ABIV1), []string{"Ignore"}},
		{"exempt", map[string]v1alpha1.CapsetPolicySpec{"e": exempt("docker.io/**", &future)}, imageWith(report.ABIV1),
			[]string{"Ignore", "exempt haproxy:3.0 ClusterCapsetPolicy/e because"}},
		{"exempt from one policy only", map[string]v1alpha1.CapsetPolicySpec{"e": exempt("docker.io/library/*", nil), "w": warn},
			imageWith(report.ABIV1),
			[]string{"Warn", "Warn ClusterCapsetPolicy/w action /bin/0", "exempt haproxy:3.0 ClusterCapsetPolicy/e because"}},
		{"expired exemption", map[string]v1alpha1.CapsetPolicySpec{"e": exempt("**", &past)}, imageWith(report.ABIV1),
			[]string{"Reject", "Reject ClusterCapsetPolicy/e action /bin/0"}},
		{"exemption expires at its instant", map[string]v1alpha1.CapsetPolicySpec{"e": exempt("**", &now)}, imageWith(report.ABIV1),
			[]string{"Reject", "Reject ClusterCapsetPolicy/e action /bin/0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var policies []policy.Policy
			for name, spec := range tt.policies {
				policies = append(policies, cluster(t, name, spec))
			}
			if diff := cmp.Diff(tt.want, outcome(policy.Evaluate(now, policies, []policy.Image{tt.image}))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEvaluateClasses: every class that a policy can name has its own action,
// and each falls back to the default.
func TestEvaluateClasses(t *testing.T) {
	all := []v1alpha1.Action{v1alpha1.ActionIgnore, v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject}
	named := func(class report.FailureClass, action v1alpha1.Action) v1alpha1.ScanErrorActions {
		a := v1alpha1.ScanErrorActions{Default: v1alpha1.ActionAudit}
		fields := map[report.FailureClass]*v1alpha1.Action{
			report.FailureTimeout: &a.Timeout, report.FailureUnauthorized: &a.Unauthorized, report.FailureNotFound: &a.NotFound,
			report.FailureRateLimited: &a.RateLimited, report.FailureTooLarge: &a.TooLarge, report.FailureMalformed: &a.Malformed,
			report.FailureBlocked: &a.Blocked, report.FailureRegistry: &a.Registry,
		}
		*fields[class] = action
		return a
	}
	for _, class := range report.FailureClasses() {
		for _, action := range all {
			p := cluster(t, "p", v1alpha1.CapsetPolicySpec{OnScanError: named(class, action)})
			for _, failed := range report.FailureClasses() {
				want := v1alpha1.ActionAudit
				if failed == class {
					want = action
				}
				if got := policy.Evaluate(now, []policy.Policy{p}, []policy.Image{imageFailed(failed)}).Action; got != policy.Action(want) {
					t.Errorf("onScanError.%s=%s, failure %s: got %s, want %s", class, action, failed, got, want)
				}
			}
		}
	}
}

// TestEvaluateWorkload: the actions for a workload and for its Pods, for
// each pair of an action and a policy's workloads.
func TestEvaluateWorkload(t *testing.T) {
	const ignore, audit, warn, reject = policy.ActionIgnore, policy.ActionAudit, policy.ActionWarn, policy.ActionReject
	for _, tt := range []struct {
		action    policy.Action
		workloads v1alpha1.WorkloadAction
		want      policy.Action
	}{
		{ignore, "", ignore}, {ignore, v1alpha1.WorkloadReject, ignore},
		{audit, "", audit}, {audit, v1alpha1.WorkloadReject, audit}, {audit, v1alpha1.WorkloadIgnore, audit},
		{warn, "", warn}, {warn, v1alpha1.WorkloadReject, warn}, {warn, v1alpha1.WorkloadIgnore, warn},
		{reject, "", warn}, {reject, v1alpha1.WorkloadWarn, warn}, {reject, v1alpha1.WorkloadIgnore, ignore},
		{reject, v1alpha1.WorkloadReject, reject},
	} {
		p := cluster(t, "p", v1alpha1.CapsetPolicySpec{Action: v1alpha1.Action(tt.action), Workloads: tt.workloads})
		d := policy.EvaluateWorkload(now, []policy.Policy{p}, []policy.Image{imageWith(report.ABIV1)})
		if d.Action != tt.want {
			t.Errorf("%s, workloads %q: got %s, want %s", tt.action, tt.workloads, d.Action, tt.want)
		}
		if len(d.Findings) > 0 && (d.Findings[0].Pods != tt.action || d.Findings[0].PodsPolicy != p.Name) {
			t.Errorf("%s, workloads %q: its Pods get %+v", tt.action, tt.workloads, d.Findings[0])
		}
		if pod := policy.Evaluate(now, []policy.Policy{p}, []policy.Image{imageWith(report.ABIV1)}); pod.Action != tt.action {
			t.Errorf("a Pod under %s got %s", tt.action, pod.Action)
		}
	}
	// One policy decides about the workload, another about its Pods.
	quiet := cluster(t, "quiet", v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, Workloads: v1alpha1.WorkloadIgnore})
	warns := cluster(t, "warns", v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn})
	got := policy.EvaluateWorkload(now, []policy.Policy{warns, quiet}, []policy.Image{imageWith(report.ABIV1)}).Findings[0]
	if got.Action != warn || got.Policy != warns.Name || got.Pods != reject || got.PodsPolicy != quiet.Name {
		t.Errorf("got %+v", got)
	}
}

func TestMatches(t *testing.T) {
	inProd, err := policyspec.CompileCluster(&v1alpha1.ClusterCapsetPolicy{Spec: v1alpha1.ClusterCapsetPolicySpec{
		NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"env": "prod"}},
		CapsetPolicySpec: v1alpha1.CapsetPolicySpec{
			PodSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "lb"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	own, err := policyspec.CompileNamespaced(&v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "own"}})
	if err != nil {
		t.Fatal(err)
	}
	if own.Name != "CapsetPolicy/shop/own" {
		t.Errorf("name is %s", own.Name)
	}
	prod := labels.Set{"env": "prod", policy.LabelMetadataName: "shop"}
	lb := labels.Set{"app": "lb"}
	for _, tt := range []struct {
		name           string
		policy         policy.Policy
		namespace, pod labels.Set
		want           bool
	}{
		{"both selectors hold", inProd, prod, lb, true},
		{"namespace differs", inProd, labels.Set{"env": "dev"}, lb, false},
		{"Pod differs", inProd, prod, labels.Set{}, false},
		{"own namespace", own, prod, nil, true},
		{"other namespace", own, labels.Set{policy.LabelMetadataName: "else"}, nil, false},
	} {
		if got := tt.policy.Matches(tt.namespace, tt.pod); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestWants(t *testing.T) {
	ignoring := v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionIgnore, OnUnknown: v1alpha1.ActionIgnore,
		OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionIgnore}}
	one := ignoring
	one.OnScanError.Registry = v1alpha1.ActionAudit
	exempting := v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{{Images: []string{"a/*"}, Reason: "r"}}}
	for _, tt := range []struct {
		name  string
		spec  v1alpha1.CapsetPolicySpec
		image string
		want  bool
	}{
		{"default", v1alpha1.CapsetPolicySpec{}, "a/b", true},
		{"all ignored", ignoring, "a/b", false},
		{"one class is not", one, "a/b", true},
		{"exempt", exempting, "a/b", false},
		{"not exempt", exempting, "a/b/c", true},
	} {
		p := cluster(t, "p", tt.spec)
		if _, got := policy.Wanted(now, []policy.Policy{p}, policy.Image{Name: tt.image, Architecture: "arm64"}); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

// TestScope: an image is read as the widest of those policies wants that can
// come to anything about it.
func TestScope(t *testing.T) {
	hinted := cluster(t, "hinted", v1alpha1.CapsetPolicySpec{Images: v1alpha1.ImagesHinted})
	silent := cluster(t, "silent", v1alpha1.CapsetPolicySpec{})
	all := cluster(t, "all", v1alpha1.CapsetPolicySpec{Images: v1alpha1.ImagesAll})
	elsewhere := cluster(t, "elsewhere", v1alpha1.CapsetPolicySpec{Images: v1alpha1.ImagesAll,
		Architectures: []v1alpha1.Architecture{"amd64"}})
	exempting := cluster(t, "exempting", v1alpha1.CapsetPolicySpec{Images: v1alpha1.ImagesAll,
		Exemptions: []v1alpha1.Exemption{{Images: []string{"**"}, Reason: "r"}}})
	ignoring := cluster(t, "ignoring", v1alpha1.CapsetPolicySpec{Images: v1alpha1.ImagesAll,
		Action: v1alpha1.ActionIgnore, OnUnknown: v1alpha1.ActionIgnore, OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionIgnore}})
	for _, tt := range []struct {
		name     string
		policies []policy.Policy
		want     bool
	}{
		{"hinted", []policy.Policy{hinted}, false},
		{"by default", []policy.Policy{silent}, false},
		{"all", []policy.Policy{all}, true},
		{"the widest wins", []policy.Policy{hinted, all, silent}, true},
		{"not of another architecture's", []policy.Policy{hinted, elsewhere}, false},
		{"not of one that exempts it", []policy.Policy{hinted, exempting}, false},
		{"not of one that does nothing", []policy.Policy{hinted, ignoring}, false},
	} {
		if got, _ := policy.Wanted(now, tt.policies, imageWith()); got.AllImages != tt.want {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
}

// TestBinaries: what only a policy for all executables is about concerns no
// other, be it a binary or a gap; what is about proxies concerns all.
func TestBinaries(t *testing.T) {
	all := v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionAudit, OnUnknown: v1alpha1.ActionAudit, Binaries: v1alpha1.BinariesAll}
	proxies := v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, OnUnknown: v1alpha1.ActionReject}
	other := func(image policy.Image, i int) policy.Image {
		image.Report.Binaries[i].Other = true
		return image
	}
	gaps := func(image policy.Image, others ...bool) policy.Image {
		image.Report.Complete = false
		for _, o := range others {
			image.Report.Gaps = append(image.Report.Gaps, report.Gap{Where: "x", Reason: fmt.Sprintf("other-%v", o), Other: o})
		}
		return image
	}
	for _, tt := range []struct {
		name      string
		image     policy.Image
		justProxy []string
		both      []string
	}{
		{"another binary", other(imageWith(report.ABIV1), 0), []string{"Ignore"}, []string{"Audit", "Audit ClusterCapsetPolicy/a action /bin/0"}},
		{"another unknown", other(imageWith(report.ABIUnknown), 0), []string{"Ignore"},
			[]string{"Audit", "Audit ClusterCapsetPolicy/a onUnknown /bin/0"}},
		{"a proxy", imageWith(report.ABIV1), []string{"Reject", "Reject ClusterCapsetPolicy/p action /bin/0"}, []string{"Reject",
			"Reject ClusterCapsetPolicy/p action /bin/0"}},
		{"one of each", other(imageWith(report.ABIV1, report.ABIV1), 0), []string{"Reject", "Reject ClusterCapsetPolicy/p action /bin/1"},
			[]string{"Reject", "Reject ClusterCapsetPolicy/p action /bin/1", "Audit ClusterCapsetPolicy/a action /bin/0"}},
		{"another gap", gaps(imageWith(report.ABIV3), true), []string{"Ignore"},
			[]string{"Audit", "Audit ClusterCapsetPolicy/a onUnknown other-true"}},
		{"a gap that matters to all", gaps(imageWith(report.ABIV3), true, false), []string{"Reject",
			"Reject ClusterCapsetPolicy/p onUnknown other-false"},
			[]string{"Reject", "Reject ClusterCapsetPolicy/p onUnknown other-false"}},
		{"a gap beside another binary", gaps(other(imageWith(report.ABIV1), 0), false), []string{"Reject",
			"Reject ClusterCapsetPolicy/p onUnknown other-false"},
			[]string{"Reject", "Reject ClusterCapsetPolicy/p onUnknown other-false", "Audit ClusterCapsetPolicy/a action /bin/0"}},
		{"incomplete without a gap", gaps(imageWith()), []string{"Reject", "Reject ClusterCapsetPolicy/p onUnknown incomplete"},
			[]string{"Reject", "Reject ClusterCapsetPolicy/p onUnknown incomplete"}},
	} {
		p, a := cluster(t, "p", proxies), cluster(t, "a", all)
		if diff := cmp.Diff(tt.justProxy, outcome(policy.Evaluate(now, []policy.Policy{p}, []policy.Image{tt.image}))); diff != "" {
			t.Errorf("%s, proxies (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.both, outcome(policy.Evaluate(now, []policy.Policy{p, a}, []policy.Image{tt.image}))); diff != "" {
			t.Errorf("%s, both (-want +got):\n%s", tt.name, diff)
		}
	}
	if got, _ := policy.Wanted(now, []policy.Policy{cluster(t, "p", proxies), cluster(t, "a", all)},
		imageWith()); got != (policy.Scope{AllBinaries: true}) {
		t.Errorf("got %+v", got)
	}
}

// TestNotRead: an image that was not read for want of a hint is at fault for
// those policies alone that want all images read, and never silently clean.
func TestNotRead(t *testing.T) {
	image := imageWith()
	image.Report.Complete, image.Report.Gaps = false, []report.Gap{{Where: "x", Reason: report.GapNotRead}}
	reject := v1alpha1.CapsetPolicySpec{OnUnknown: v1alpha1.ActionReject}
	all := v1alpha1.CapsetPolicySpec{OnUnknown: v1alpha1.ActionWarn, Images: v1alpha1.ImagesAll}
	exempting := v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{{Images: []string{"**"}, Reason: "r"}}}
	listed := []policy.NotRead{{Image: "haproxy:3.0", Architecture: "arm64"}}
	for _, tt := range []struct {
		name     string
		policies map[string]v1alpha1.CapsetPolicySpec
		want     []string
		notRead  []policy.NotRead
	}{
		{"hinted", map[string]v1alpha1.CapsetPolicySpec{"h": reject}, []string{"Ignore"}, listed},
		{"all", map[string]v1alpha1.CapsetPolicySpec{"h": reject, "a": all},
			[]string{"Warn", "Warn ClusterCapsetPolicy/a onUnknown not-read"}, listed},
		{"exempt", map[string]v1alpha1.CapsetPolicySpec{"e": exempting}, []string{"Ignore", "exempt haproxy:3.0 ClusterCapsetPolicy/e r"}, nil},
	} {
		var policies []policy.Policy
		for name, spec := range tt.policies {
			policies = append(policies, cluster(t, name, spec))
		}
		d := policy.Evaluate(now, policies, []policy.Image{image, image})
		if diff := cmp.Diff(tt.notRead, d.NotRead); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.want, outcome(policy.Evaluate(now, policies, []policy.Image{image}))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestTriggerScope: a policy for calls at the start wants all of the image.
func TestTriggerScope(t *testing.T) {
	start := cluster(t, "start", v1alpha1.CapsetPolicySpec{Trigger: v1alpha1.TriggerStart})
	any := cluster(t, "any", v1alpha1.CapsetPolicySpec{})
	for _, tt := range []struct {
		policies []policy.Policy
		want     policy.Scope
	}{{[]policy.Policy{any}, policy.Scope{}}, {[]policy.Policy{any, start}, policy.Scope{Trigger: true}}} {
		if got, _ := policy.Wanted(now, tt.policies, imageWith()); got != tt.want {
			t.Errorf("got %+v, want %+v", got, tt.want)
		}
	}
}

// TestEvaluateTrigger: a policy for calls at the start leaves the
// conditional alone and judges the unknown by onUnknown.
func TestEvaluateTrigger(t *testing.T) {
	const ignore, audit, reject = policy.ActionIgnore, policy.ActionAudit, policy.ActionReject
	for _, tt := range []struct {
		trigger v1alpha1.Trigger
		when    report.When // empty: nothing is known
		want    policy.Action
		rule    policy.Rule
	}{
		{"", report.WhenStart, reject, policy.RuleLegacy}, {"", report.WhenConditional, reject, policy.RuleLegacy},
		{"", report.WhenUnknown, reject, policy.RuleLegacy}, {"", "", reject, policy.RuleLegacy},
		{v1alpha1.TriggerAny, report.WhenConditional, reject, policy.RuleLegacy},
		{v1alpha1.TriggerStart, report.WhenStart, reject, policy.RuleLegacy},
		{v1alpha1.TriggerStart, report.WhenConditional, ignore, ""},
		{v1alpha1.TriggerStart, report.WhenUnknown, audit, policy.RuleUnknown},
		{v1alpha1.TriggerStart, "", audit, policy.RuleUnknown},
	} {
		image := imageWith(report.ABIV1)
		if tt.when != "" {
			image.Report.Binaries[0].Trigger = &report.Trigger{When: tt.when}
		}
		p := cluster(t, "p", v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, OnUnknown: v1alpha1.ActionAudit, Trigger: tt.trigger})
		got := policy.Evaluate(now, []policy.Policy{p}, []policy.Image{image})
		if got.Action != tt.want || (len(got.Findings) > 0 && got.Findings[0].Rule != tt.rule) {
			t.Errorf("trigger %q, when %q: got %+v", tt.trigger, tt.when, got)
		}
	}
	// The rule is that of the policy with the strictest action.
	image := imageWith(report.ABIV1)
	start := cluster(t, "a", v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, OnUnknown: v1alpha1.ActionAudit,
		Trigger: v1alpha1.TriggerStart})
	any := cluster(t, "b", v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn})
	if got := policy.Evaluate(now, []policy.Policy{start, any},
		[]policy.Image{image}).Findings[0]; got.Action != policy.ActionWarn || got.Rule != policy.RuleLegacy || got.Policy != any.Name {
		t.Errorf("got %+v", got)
	}
}
