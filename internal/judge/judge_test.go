package judge_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
	"github.com/capvet/capvet/internal/report"
)

var now = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

func policyOf(t *testing.T, spec v1alpha1.CapsetPolicySpec) policy.Policy {
	t.Helper()
	p, err := policyspec.CompileCluster(&v1alpha1.ClusterCapsetPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.ClusterCapsetPolicySpec{CapsetPolicySpec: spec}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func anywhere(candidates []string) []string { return candidates }

func image(reference, container string, command ...string) policy.Image {
	return policy.Image{Containers: []string{container}, Reference: reference, Name: reference, Run: policy.Run{Command: command}}
}

// registry reads images that show no sign of a product: only a word of a container
// leads to their HAProxy, as in a scan for hinted images.
type registry struct {
	mu     sync.Mutex
	wanted []judge.Wanted
}

func (r *registry) read(wanted judge.Wanted) (report.Report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = append(r.wanted, wanted)
	found := report.New()
	if !wanted.Scope.AllImages && !slices.Contains(wanted.Words, "haproxy") {
		found.Complete, found.Gaps = false, []report.Gap{{Where: wanted.Reference, Reason: report.GapNotRead}}
		return found, nil
	}
	found.Binaries = []report.Binary{{
		Path: "/usr/sbin/haproxy", Product: &report.Product{Name: "haproxy", Version: "3.0.11"}, Capset: report.Capset{ABI: report.ABIV1},
		Trigger: &report.Trigger{When: report.WhenStart}}}
	return found, nil
}

// TestOneReadingForAllContainers: of two containers with one image that shows no sign
// of a product, one runs HAProxy. The image is a finding, and is not listed as unread.
func TestOneReadingForAllContainers(t *testing.T) {
	var r registry
	decision, ok := judge.Decide(now, []policy.Policy{policyOf(t, v1alpha1.CapsetPolicySpec{})}, judge.Subject{
		Images: []policy.Image{image("app", "first"), image("app", "second", "haproxy")}, Architectures: anywhere,
	}, judge.Sources{Image: r.read})
	want := []judge.Wanted{{Reference: "app", Platform: "linux/arm64", Words: []string{"haproxy"}}}
	if diff := cmp.Diff(want, r.wanted); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	var found []string
	for _, f := range decision.Findings {
		found = append(found, f.Image.Containers...)
	}
	if !ok || decision.Action != policy.ActionWarn || !slices.Equal(found, []string{"first", "second"}) || len(decision.NotRead) > 0 {
		t.Errorf("got %s for %q, not read: %v", decision.Action, found, decision.NotRead)
	}
}

func TestDecideNothing(t *testing.T) {
	all := []policy.Policy{policyOf(t, v1alpha1.CapsetPolicySpec{})}
	images := []policy.Image{image("app", "c")}
	for name, tt := range map[string]struct {
		policies []policy.Policy
		subject  judge.Subject
	}{
		"no policy":       {nil, judge.Subject{Images: images, Architectures: anywhere}},
		"no image":        {all, judge.Subject{Architectures: anywhere}},
		"no architecture": {all, judge.Subject{Images: images, Architectures: func([]string) []string { return nil }}},
	} {
		decision, ok := judge.Decide(now, tt.policies, tt.subject, judge.Sources{Image: func(judge.Wanted) (report.Report, error) {
			t.Errorf("%s: an image is read", name)
			return report.Report{}, nil
		}})
		if ok || decision.Action != policy.ActionIgnore {
			t.Errorf("%s: got %v, %v", name, decision.Action, ok)
		}
	}
}

// TestPodsRejected: a workload that a policy ignores is told of its Pods' rejection
// apart from its findings, and only then.
func TestPodsRejected(t *testing.T) {
	for _, tt := range []struct {
		action    v1alpha1.Action
		workloads v1alpha1.WorkloadAction
		workload  bool
		want      policy.Action
		rejected  int
	}{
		{v1alpha1.ActionReject, v1alpha1.WorkloadIgnore, true, policy.ActionIgnore, 1},
		{v1alpha1.ActionReject, v1alpha1.WorkloadWarn, true, policy.ActionWarn, 0},
		{v1alpha1.ActionReject, v1alpha1.WorkloadReject, true, policy.ActionReject, 0},
		{v1alpha1.ActionIgnore, v1alpha1.WorkloadIgnore, true, policy.ActionIgnore, 0},
		{v1alpha1.ActionReject, v1alpha1.WorkloadIgnore, false, policy.ActionReject, 0},
	} {
		var r registry
		p := policyOf(t, v1alpha1.CapsetPolicySpec{Action: tt.action, Workloads: tt.workloads})
		decision, _ := judge.Decide(now, []policy.Policy{p}, judge.Subject{
			Workload: tt.workload, Images: []policy.Image{image("app", "c", "haproxy")}, Architectures: anywhere,
		}, judge.Sources{Image: r.read})
		if decision.Action != tt.want || len(decision.PodsRejected) != tt.rejected {
			t.Errorf("%+v: got %s, Pods rejected: %+v", tt, decision.Action, decision.PodsRejected)
		}
		for _, f := range decision.PodsRejected {
			if f.Action != policy.ActionIgnore || f.Pods != policy.ActionReject || f.PodsPolicy != p.Name {
				t.Errorf("%+v: got %+v", tt, f)
			}
		}
	}
}

type classed report.FailureClass

func (c classed) Error() string                     { return "no luck" }
func (c classed) FailureClass() report.FailureClass { return report.FailureClass(c) }

func TestFailures(t *testing.T) {
	for err, class := range map[error]report.FailureClass{
		classed(report.FailureNotFound): report.FailureNotFound, errors.New("x"): report.FailureInternal,
	} {
		decision, _ := judge.Decide(now, []policy.Policy{policyOf(t, v1alpha1.CapsetPolicySpec{})}, judge.Subject{
			Images: []policy.Image{image("app", "c")}, Architectures: anywhere,
		}, judge.Sources{Image: func(judge.Wanted) (report.Report, error) { return report.Report{}, fmt.Errorf("read: %w", err) }})
		if len(decision.Findings) != 1 || decision.Findings[0].Image.Failure.Class != class ||
			!strings.HasPrefix(decision.Findings[0].Image.Failure.Detail, "read: ") {
			t.Errorf("%v: got %+v", err, decision.Findings)
		}
	}
}

// TestBounds: the last image that is looked at stands for all that are not, even if it is exempt
// itself.
func TestBounds(t *testing.T) {
	var r registry
	var images []policy.Image
	for i := range judge.MaxImages + 1 {
		images = append(images, image(fmt.Sprintf("app-%d", i), "c", "sleep"))
	}
	exempt := v1alpha1.Exemption{Images: []string{images[judge.MaxImages-1].Name}, Reason: "r"}
	p := policyOf(t, v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{exempt}})
	decision, _ := judge.Decide(now, []policy.Policy{p}, judge.Subject{
		Images: images, Architectures: anywhere,
	}, judge.Sources{Image: r.read})
	if len(r.wanted) != judge.MaxImages-1 || len(decision.Findings) != 1 ||
		decision.Findings[0].Image.Failure.Class != report.FailureTooLarge {
		t.Errorf("%d images were read: %+v", len(r.wanted), decision.Findings)
	}
	if images[judge.MaxImages-1].Failure != nil {
		t.Error("the caller's images have changed")
	}
	// An exemption of the last image is not one of those that it stands for.
	exempting := v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{{Images: []string{"**app-255", "**app-255*"}, Reason: "r"}}}
	decision, _ = judge.Decide(now, []policy.Policy{policyOf(t, exempting)}, judge.Subject{Images: images, Architectures: anywhere},
		judge.Sources{Image: r.read})
	if len(decision.Findings) != 1 || len(decision.Exempted) != 0 {
		t.Errorf("the last image is exempt: %+v", decision)
	}
}

// TestMountedFiles: a configuration file in a volume decides, is read once, and only
// for policies that ask when calls run.
func TestMountedFiles(t *testing.T) {
	nonRoot := func(container string) policy.Image {
		i := image("app", container, "haproxy", "-f", "/etc/haproxy.cfg")
		i.Run.User, i.Run.Mounts = policy.UserNonRoot, []string{"/etc"}
		return i
	}
	start := v1alpha1.CapsetPolicySpec{Trigger: v1alpha1.TriggerStart}
	for _, tt := range []struct {
		name  string
		spec  v1alpha1.CapsetPolicySpec
		known bool
		want  policy.Action
		asked []string
	}{
		{"it changes its user", start, true, policy.ActionIgnore, []string{"map/cfg"}},
		{"unknown", start, false, policy.ActionWarn, []string{"map/cfg"}},
		{"no policy asks", v1alpha1.CapsetPolicySpec{}, true, policy.ActionWarn, nil},
	} {
		var r registry
		var asked []string
		decision, _ := judge.Decide(now, []policy.Policy{policyOf(t, tt.spec)}, judge.Subject{
			Images: []policy.Image{nonRoot("a"), nonRoot("b")}, Architectures: anywhere,
			ConfigMapFile: func(_, file string) (string, string, bool) { return "map", "cfg", file == "/etc/haproxy.cfg" },
		}, judge.Sources{Image: r.read, Settings: func(configMap, key string) (report.Settings, bool) {
			asked = append(asked, configMap+"/"+key)
			return report.Settings{User: true}, tt.known
		}})
		if decision.Action != tt.want || !slices.Equal(asked, tt.asked) {
			t.Errorf("%s: got %s, asked for %q", tt.name, decision.Action, asked)
		}
	}
}
