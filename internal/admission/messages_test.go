package admission

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func imageOf(container, reference string) policy.Image {
	return policy.Image{Containers: []string{container}, Reference: reference, Name: subject.FullName(reference), Architecture: "arm64"}
}

// adviseOnHAProxy adds what the product itself says.
func adviseOnHAProxy(b *report.Binary) {
	found := product.Found{Version: b.Product.Version, Calls: b.Capset.Calls}
	for _, p := range product.All() {
		if p.Name == "haproxy" {
			trigger := p.Trigger(found)
			b.Trigger, b.Advice = &trigger, p.Legacy(found)
		}
	}
}

// situations are images as a policy meets them, by the name of the golden file.
func situations() map[string][]policy.Image {
	legacy := imageOf("lb", "haproxy:3.0")
	r := legacyReport()
	adviseOnHAProxy(&r.Binaries[0])
	legacy.Report = &r

	conditional := imageOf("lb", "haproxy:2.9")
	c := legacyReport()
	c.Binaries[0].Product.Version, c.Binaries[0].Capset.Calls[0].Syscall = "2.9.15", "capset"
	c.Binaries[0].Capset.Calls[0].Function = "prepare_caps_for_setuid"
	adviseOnHAProxy(&c.Binaries[0])
	conditional.Report = &c

	other := imageOf("tool", "example.com/tools:1")
	o := report.New()
	o.Binaries = append(o.Binaries, report.Binary{Path: "/usr/bin/tool", Other: true, Advice: product.OtherLegacy, Capset: report.Capset{ABI: report.ABIV2, Basis: report.BasisCode,
		Calls: []report.Call{{Syscall: "capset", ABI: report.ABIV2, Address: "0x1234", Via: "capset", Header: "stack"}}}})
	other.Report = &o

	shared := legacy
	shared.Containers = []string{"lb", "lb2", "lb3"}

	unknown := imageOf("proxy", "example.com/proxy@sha256:00")
	u := report.New()
	u.Binaries = append(u.Binaries, report.Binary{Path: "/usr/bin/proxy", Capset: report.Capset{ABI: report.ABIUnknown, Basis: report.BasisCode,
		Calls: []report.Call{{Syscall: "capset", ABI: report.ABIUnknown, Address: "0x1234", Via: "syscall", Header: "the header comes from memory that the program fills in elsewhere"}}}})
	unknown.Report = &u

	incomplete := imageOf("big", "example.com/big:1")
	i := report.New()
	i.Complete, i.Gaps = false, []report.Gap{{Where: "sha256:11", Reason: "too-large", Detail: "the layer has more than 1000000 entries"}}
	incomplete.Report = &i

	unread := imageOf("app", "example.com/shop/app:7")
	n := unreadReport()
	unread.Report = &n

	failed := func(class report.FailureClass) policy.Image {
		image := imageOf("lb", "example.com/haproxy:3.0")
		image.Failure = &report.Failure{Class: class, Detail: "detail of " + string(class)}
		return image
	}
	all := map[string][]policy.Image{
		"legacy": {legacy}, "legacy-shared": {shared}, "unknown": {unknown}, "incomplete": {incomplete},
		"legacy-conditional": {conditional}, "legacy-other": {other},
		"unread": {unread}, "unread-beside-legacy": {legacy, unread},
		"several":          {legacy, unknown, incomplete, failed(report.FailureTimeout), failed(report.FailureNotFound)},
		"failure-internal": {failed(report.FailureInternal)},
	}
	for _, class := range report.FailureClasses() {
		all["failure-"+string(class)] = []policy.Image{failed(class)}
	}
	return all
}

// TestMessages holds the exact words in testdata/messages.
func TestMessages(t *testing.T) {
	for name, images := range situations() {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, action := range []v1alpha1.Action{v1alpha1.ActionWarn, v1alpha1.ActionReject} {
				p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: action, Binaries: v1alpha1.BinariesAll,
					OnScanError: v1alpha1.ScanErrorActions{Default: action}})
				response, _ := respond(subject.KindPod, policy.Evaluate(time.Unix(0, 0), []policy.Policy{p}, images), nil)
				writeResponse(&b, response)
				if action == v1alpha1.ActionReject {
					for _, key := range []string{annotationDecision, annotationFindings, annotationExemptions, annotationNotRead} {
						if value, ok := response.AuditAnnotations[key]; ok {
							b.WriteString("annotation " + key + ": " + value + "\n")
						}
					}
				}
			}
			compareGolden(t, name, b.String())
		})
	}
}

// TestWorkloadMessages holds the exact words for a workload under a policy that
// rejects its Pods.
func TestWorkloadMessages(t *testing.T) {
	for _, workloads := range []v1alpha1.WorkloadAction{v1alpha1.WorkloadIgnore, v1alpha1.WorkloadWarn, v1alpha1.WorkloadReject} {
		p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, Workloads: workloads})
		decision := policy.EvaluateWorkload(time.Unix(0, 0), []policy.Policy{p}, situations()["legacy"])
		response, _ := respond("Deployment", decision, nil)
		var b strings.Builder
		writeResponse(&b, response)
		compareGolden(t, "workload-"+string(workloads), b.String())
	}
}

// TestTriggerMessages holds the exact words for each way that a container runs
// HAProxy, under a policy for what runs at start and one for everything.
func TestTriggerMessages(t *testing.T) {
	official := &report.Configuration{User: "99", Entrypoint: []string{"docker-entrypoint.sh"}, Command: []string{"haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"}}
	for name, tt := range map[string]struct {
		run      policy.Run
		image    *report.Configuration
		settings []report.Settings
	}{
		"root":             {policy.Run{User: policy.UserRoot}, official, nil},
		"non-root":         {policy.Run{User: policy.UserNonRoot}, official, nil},
		"command":          {policy.Run{Command: []string{"sleep", "infinity"}}, official, nil},
		"arguments":        {policy.Run{Args: []string{"sleep", "infinity"}}, official, nil},
		"image-user":       {policy.Run{}, official, nil},
		"image-root":       {policy.Run{}, &report.Configuration{Command: []string{"haproxy", "-W"}}, nil},
		"image-entrypoint": {policy.Run{}, &report.Configuration{User: "1000", Entrypoint: []string{"/init"}}, nil},
		"settings":         {policy.Run{}, official, []report.Settings{{Path: "/usr/local/etc/haproxy/haproxy.cfg"}}},
		"settings-user":    {policy.Run{}, official, []report.Settings{{Path: "/usr/local/etc/haproxy/haproxy.cfg", User: true}}},
		"settings-root":    {policy.Run{User: policy.UserRoot}, official, []report.Settings{{Path: "/usr/local/etc/haproxy/haproxy.cfg", User: true, SetCap: true}}},
		"settings-hidden":  {policy.Run{Mounts: []string{"/usr/local/etc/haproxy"}}, official, []report.Settings{{Path: "/usr/local/etc/haproxy/haproxy.cfg", User: true}}},
	} {
		var b strings.Builder
		for _, trigger := range []v1alpha1.Trigger{v1alpha1.TriggerAny, v1alpha1.TriggerStart} {
			p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Trigger: trigger})
			images := situations()["legacy"]
			images[0].Run, images[0].Report.Configuration, images[0].Report.Settings = tt.run, tt.image, tt.settings
			response, _ := respond(subject.KindPod, policy.Evaluate(time.Unix(0, 0), []policy.Policy{p}, images), nil)
			b.WriteString("trigger: " + string(trigger) + "\n")
			writeResponse(&b, response)
		}
		compareGolden(t, "trigger-"+name, b.String())
	}
}

// TestOtherMessages holds the exact words of what is said besides findings: of
// broken policies, of capvet's own failures and of a namespace's mode.
func TestOtherMessages(t *testing.T) {
	var b strings.Builder
	for _, action := range []v1alpha1.Action{v1alpha1.ActionIgnore, v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject} {
		p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{OnScanError: v1alpha1.ScanErrorActions{Default: action}})
		b.WriteString("failed under " + string(action) + "\n")
		writeResponse(&b, internalError([]policy.Policy{p}))
	}
	b.WriteString("failed, policies unknown\n")
	writeResponse(&b, internalError(nil))
	b.WriteString("a broken policy\n")
	response, _ := respond(subject.KindPod, policy.Decision{}, []string{`ClusterCapsetPolicy/x is not applied, because it is broken: spec.podSelector: "Near" is not a valid label selector operator`})
	writeResponse(&b, response)
	for _, mode := range append(v1alpha1.Modes(), "rejct", "") {
		b.WriteString("mode " + mode + "\n")
		strict := clusterPolicy(t, v1alpha1.CapsetPolicySpec{})
		writeResponse(&b, admission.Allowed("").WithWarnings(wording.Lines(modeWarnings(mode, []policy.Policy{strict, strict}))...))
	}
	compareGolden(t, "others", b.String())
}

// TestMessagesOfAnyLength: every kind of finding with names as long as an image
// or a registry may make them, for Pods and workloads, under all actions.
func TestMessagesOfAnyLength(t *testing.T) {
	long := strings.Repeat("x\u202e\n\t\x00\xff", 300)
	var images []policy.Image
	for name, situation := range situations() {
		for _, image := range situation {
			image.Reference, image.Name, image.Containers = long+name, long, []string{long, long}
			image.Run = policy.Run{Command: []string{long}}
			if image.Failure != nil {
				image.Failure.Detail = long
			}
			if r := image.Report; r != nil {
				r.Image = long
				for i := range r.Binaries {
					b := &r.Binaries[i]
					b.Path, b.Advice, b.Capset.Reason = long, strings.Repeat(long+". ", 3), long
					if b.Product != nil {
						b.Product.Version = long
					}
					for j := range b.Capset.Calls {
						b.Capset.Calls[j].Function, b.Capset.Calls[j].Header = long, long
					}
				}
				for i := range r.Gaps {
					r.Gaps[i].Where, r.Gaps[i].Detail = long, long
				}
			}
			images = append(images, image)
		}
	}
	for _, trigger := range []v1alpha1.Trigger{v1alpha1.TriggerAny, v1alpha1.TriggerStart} {
		for _, action := range []v1alpha1.Action{v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject} {
			spec := v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: action, Trigger: trigger, Binaries: v1alpha1.BinariesAll, OnScanError: v1alpha1.ScanErrorActions{Default: action}}
			p := clusterPolicy(t, spec)
			p.Name = "ClusterCapsetPolicy/" + strings.Repeat("p", 253)
			for _, image := range append([][]policy.Image{images}, each(images)...) {
				pod, _ := respond(subject.KindPod, policy.Evaluate(time.Unix(0, 0), []policy.Policy{p}, image), []string{long})
				workload, _ := respond("ReplicationController", policy.EvaluateWorkload(time.Unix(0, 0), []policy.Policy{p}, image), []string{long})
				withinLimits(t, pod)
				withinLimits(t, workload)
			}
		}
	}
	withinLimits(t, admission.Allowed("").WithWarnings(wording.Lines(modeWarnings(long, nil))...))
}

func each(images []policy.Image) [][]policy.Image {
	var out [][]policy.Image
	for _, image := range images {
		out = append(out, []policy.Image{image})
	}
	return out
}

// withinLimits checks a response against the API server's rules: past 4096 runes
// of warnings it cuts each at 256 and drops the rest, and one with a control
// character vanishes; an event's note has at most 1024 characters, which is the
// reader's loss, not an error.
func withinLimits(t *testing.T, response admission.Response) {
	t.Helper()
	total := 0
	for _, w := range response.Warnings {
		total += utf8.RuneCountInString(w)
		if n := utf8.RuneCountInString(w); n == 0 || n > 256 {
			t.Errorf("warning of %d runes: %q", n, w)
		}
		if strings.ContainsFunc(w, unicode.IsControl) || !utf8.ValidString(w) {
			t.Errorf("warning would vanish: %q", w)
		}
	}
	if total > 4096 {
		t.Errorf("%d runes of warnings", total)
	}
	if !response.Allowed {
		if m := response.Result.Message; utf8.RuneCountInString(m) > wording.MaxDenial || strings.ContainsFunc(m, unicode.IsControl) || !utf8.ValidString(m) {
			t.Errorf("denial: %q", m)
		}
	}
	for key, value := range response.AuditAnnotations {
		if len(value) > maxAnnotation+1024 {
			t.Errorf("annotation %s has %d bytes", key, len(value))
		}
		if key != annotationDecision && !json.Valid([]byte(value)) {
			t.Errorf("annotation %s is no JSON: %s", key, value)
		}
	}
}

// writeResponse writes what a person sees of a response.
func writeResponse(b *strings.Builder, response admission.Response) {
	for _, w := range response.Warnings {
		b.WriteString("warning: " + w + "\n")
	}
	if !response.Allowed {
		b.WriteString("denied: " + response.Result.Message + "\n")
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	golden := filepath.Join("testdata", "messages", name+".txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// FuzzMessages: whatever an image says of itself, the API server's rules hold.
func FuzzMessages(f *testing.F) {
	f.Add("haproxy", "/usr/sbin/haproxy", "3.0.11", 1)
	f.Add("a\nb\tc\x00\x1b[31m", "/\u202e/\xff\xfe", strings.Repeat("9", 5000), 40)
	f.Fuzz(func(t *testing.T, reference, path, version string, count int) {
		var images []policy.Image
		for range min(max(count, 0), 64) {
			r := report.New()
			b := haproxy30()
			b.Path, b.Product.Version, b.Advice = path, version, reference+version
			b.Capset.Calls[0].Function = path + version
			b.Trigger.Why = version
			r.Binaries, r.Image = append(r.Binaries, b), reference
			images = append(images, policy.Image{Containers: []string{path, version}, Reference: reference, Name: reference, Architecture: "arm64", Report: &r})
		}
		for _, action := range []v1alpha1.Action{v1alpha1.ActionWarn, v1alpha1.ActionReject} {
			p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Action: action})
			response, _ := respond(subject.KindPod, policy.Evaluate(time.Unix(0, 0), []policy.Policy{p}, images), []string{version, path})
			withinLimits(t, response)
		}
	})
}
