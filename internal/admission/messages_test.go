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
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/subject"
	"github.com/capvet/capvet/internal/wording"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func imageOf(container, reference string) policy.Image {
	return policy.Image{Containers: []string{container}, Reference: reference, Name: subject.FullName(reference), Architecture: "arm64"}
}

// situations are images as a policy meets them, by the name of the golden file.
func situations() map[string][]policy.Image {
	legacy := imageOf("lb", "haproxy:3.0")
	r := legacyReport()
	legacy.Report = &r

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
				p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: action, OnScanError: v1alpha1.ScanErrorActions{Default: action}})
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
			if !response.Allowed && utf8.RuneCountInString(response.Result.Message) > wording.MaxDenial {
				t.Errorf("denial is too long: %q", response.Result.Message)
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
	})
}
