package admission

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func imageOf(container, reference string, r report.Report) policy.Image {
	return policy.Image{Containers: []string{container}, Reference: reference, Name: subject.FullName(reference),
		Architecture: "arm64", Report: &r}
}

// situations are images with every kind of finding.
func situations() []policy.Image {
	other := report.New()
	other.Binaries = append(other.Binaries, report.Binary{Path: "/usr/bin/tool", Other: true,
		Capset: report.Capset{ABI: report.ABIV2, Basis: report.BasisCode,
			Calls: []report.Call{{Syscall: "capset", ABI: report.ABIV2, Address: "0x1234", Via: "capset", Header: "stack"}}}})
	unknown := report.New()
	unknown.Binaries = append(unknown.Binaries, report.Binary{Path: "/usr/bin/proxy", Capset: report.Capset{ABI: report.ABIUnknown,
		Basis: report.BasisCode}})
	incomplete := report.New()
	incomplete.Complete, incomplete.Gaps = false, []report.Gap{{Where: "sha256:11", Reason: "too-large",
		Detail: "the layer has more than 1000000 entries"}}
	images := []policy.Image{
		imageOf("lb", "haproxy:3.0", legacyReport()), imageOf("tool", "example.com/tools:1", other),
		imageOf("proxy", "example.com/proxy@sha256:00", unknown),
		imageOf("big", "example.com/big:1", incomplete), imageOf("app", "example.com/shop/app:7", unreadReport()),
	}
	for _, class := range append(report.FailureClasses(), report.FailureInternal) {
		image := imageOf("lb", "example.com/haproxy:3.0", report.Report{})
		image.Report, image.Failure = nil, &report.Failure{Class: class, Detail: "detail of " + string(class)}
		images = append(images, image)
	}
	return images
}

// TestAnnotations holds the exact annotations of a decision with every kind of finding.
func TestAnnotations(t *testing.T) {
	exempting := v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, OnUnknown: v1alpha1.ActionReject, Binaries: v1alpha1.BinariesAll,
		OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionReject},
		Exemptions:  []v1alpha1.Exemption{{Images: []string{"**/tools:*"}, Reason: "r"}}}
	all := exempting
	all.Exemptions = nil
	var b strings.Builder
	write := func(name string, d policy.Decision) {
		response, _ := respond(subject.KindPod, d, nil)
		for _, key := range []string{annotationDecision, annotationFindings, annotationExemptions, annotationNotRead} {
			if value, ok := response.AuditAnnotations[key]; ok {
				b.WriteString(name + " " + key + ": " + value + "\n")
			}
		}
	}
	for _, image := range situations() {
		write("all", policy.Evaluate(time.Unix(0, 0), []policy.Policy{clusterPolicy(t, all)}, []policy.Image{image}))
	}
	write("exempting", policy.Evaluate(time.Unix(0, 0), []policy.Policy{clusterPolicy(t, exempting)}, situations()))
	compareGolden(t, "annotations", b.String())
}

// TestOtherMessages holds the exact words of the messages besides findings: of
// broken policies, of capvet's own failures and of a namespace's mode.
func TestOtherMessages(t *testing.T) {
	var b strings.Builder
	for _, action := range []v1alpha1.Action{v1alpha1.ActionIgnore, v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject} {
		p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{OnScanError: v1alpha1.ScanErrorActions{Default: action}})
		b.WriteString("failed under " + string(action) + "\n")
		writeResponse(&b, unjudged([]policy.Policy{p}, report.FailureInternal, subject.KindPod, textInternal))
	}
	b.WriteString("failed, policies unknown\n")
	writeResponse(&b, unjudged(nil, report.FailureInternal, subject.KindPod, textInternal))
	b.WriteString("a broken policy\n")
	response, _ := respond(subject.KindPod, policy.Decision{},
		[]string{`ClusterCapsetPolicy/x is not applied, because it is broken: spec.podSelector: "Near" is not a valid label selector operator`})
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
	for i, image := range situations() {
		image.Reference, image.Name, image.Containers = fmt.Sprint(long, i), long, []string{long, long}
		image.Run = policy.Run{Command: []string{long}}
		if image.Failure != nil {
			image.Failure.Detail = long
			images = append(images, image)
			continue
		}
		r := image.Report
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
		images = append(images, image)
	}
	for _, trigger := range []v1alpha1.Trigger{v1alpha1.TriggerAny, v1alpha1.TriggerStart} {
		for _, action := range []v1alpha1.Action{v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject} {
			spec := v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: action, Trigger: trigger, Binaries: v1alpha1.BinariesAll,
				OnScanError: v1alpha1.ScanErrorActions{Default: action}}
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
		if m := response.Result.Message; utf8.RuneCountInString(m) > wording.MaxDenial || strings.ContainsFunc(m,
			unicode.IsControl) || !utf8.ValidString(m) {
			t.Errorf("denial: %q", m)
		}
	}
	for key, value := range response.AuditAnnotations {
		if len(value) > maxAnnotation+1024 {
			t.Errorf("annotation %s has %d bytes", key, len(value))
		}
		if key != annotationDecision && key != annotationError && !json.Valid([]byte(value)) {
			t.Errorf("annotation %s is no JSON: %s", key, value)
		}
	}
}

// writeResponse writes the warnings and the denial of a response.
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

// FuzzMessages: the API server's rules hold for any text from an image.
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
			images = append(images, policy.Image{Containers: []string{path, version}, Reference: reference, Name: reference,
				Architecture: "arm64", Report: &r})
		}
		for _, action := range []v1alpha1.Action{v1alpha1.ActionWarn, v1alpha1.ActionReject} {
			p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Action: action})
			response, _ := respond(subject.KindPod, policy.Evaluate(time.Unix(0, 0), []policy.Policy{p}, images), []string{version, path})
			withinLimits(t, response)
		}
	})
}

// TestAnnotationsOfLargePods: neither a long reference nor many containers leave the findings out
// of the annotation.
func TestAnnotationsOfLargePods(t *testing.T) {
	image := imageOf("lb", strings.Repeat("x", maxAnnotation), legacyReport())
	image.Containers = slices.Repeat([]string{"container"}, maxAnnotation)
	decision := policy.Evaluate(time.Unix(0, 0), []policy.Policy{clusterPolicy(t, v1alpha1.CapsetPolicySpec{})}, []policy.Image{image})
	response, _ := respond(subject.KindPod, decision, nil)
	var got []summary
	if err := json.Unmarshal([]byte(response.AuditAnnotations[annotationFindings]), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 || got[0].ABI != report.ABIV1 || len(got[0].Containers)+got[0].More != maxAnnotation ||
		len(got[0].Image) > maxAnnotation/2 {
		t.Errorf("%.500s", response.AuditAnnotations[annotationFindings])
	}
}
