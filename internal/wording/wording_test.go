package wording_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/wording"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func imageOf(container, reference string) policy.Image {
	return policy.Image{Containers: []string{container}, Reference: reference, Name: reference, Architecture: "arm64"}
}

func clusterPolicy(t *testing.T, spec v1alpha1.CapsetPolicySpec) policy.Policy {
	t.Helper()
	p, err := policyspec.CompileCluster(&v1alpha1.ClusterCapsetPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.ClusterCapsetPolicySpec{CapsetPolicySpec: spec}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// haproxy reports on an image with HAProxy of that version and that call.
func haproxy(version, syscall, function string) *report.Report {
	r := report.New()
	b := report.Binary{
		Path: "/usr/local/sbin/haproxy", Machine: "arm64",
		Product: &report.Product{Name: "haproxy", Version: version, Basis: "symbol"},
		Capset: report.Capset{ABI: report.ABIV1, Basis: report.BasisCode, Calls: []report.Call{{
			Syscall: syscall, ABI: report.ABIV1, Function: function, Address: "0x12fef0", Via: "syscall"}}},
	}
	known, _ := product.Lookup("haproxy")
	trigger := known.Trigger(product.Found{Version: version, Calls: b.Capset.Calls})
	b.Trigger = &trigger
	r.Binaries = append(r.Binaries, b)
	return &r
}

// situations are images as a policy meets them, by the name of the golden file.
func situations() map[string][]policy.Image {
	legacy := imageOf("lb", "haproxy:3.0")
	legacy.Report = haproxy("3.0.11", "capget", "prepare_caps_from_permitted_set")
	conditional := imageOf("lb", "haproxy:2.9")
	conditional.Report = haproxy("2.9.15", "capset", "prepare_caps_for_setuid")

	other := imageOf("tool", "example.com/tools:1")
	o := report.New()
	o.Binaries = append(o.Binaries, report.Binary{Path: "/usr/bin/tool", Other: true, Capset: report.Capset{ABI: report.ABIV2,
		Basis: report.BasisCode,
		Calls: []report.Call{{Syscall: "capset", ABI: report.ABIV2, Address: "0x1234", Via: "capset", Header: "stack"}}}})
	other.Report = &o

	shared := legacy
	shared.Containers = []string{"lb", "lb2", "lb3"}

	unknown := imageOf("proxy", "example.com/proxy@sha256:00")
	u := report.New()
	u.Binaries = append(u.Binaries, report.Binary{Path: "/usr/bin/proxy", Capset: report.Capset{ABI: report.ABIUnknown,
		Basis: report.BasisCode,
		Calls: []report.Call{{Syscall: "capset", ABI: report.ABIUnknown, Address: "0x1234", Via: "syscall",
			Header: "the header comes from memory that the program fills in elsewhere"}}}})
	unknown.Report = &u

	incomplete := imageOf("big", "example.com/big:1")
	i := report.New()
	i.Complete, i.Gaps = false, []report.Gap{{Where: "sha256:11", Reason: "too-large", Detail: "the layer has more than 1000000 entries"}}
	incomplete.Report = &i

	unread := imageOf("app", "example.com/shop/app:7")
	n := report.New()
	n.Complete, n.Gaps = false, []report.Gap{{Where: "unread", Reason: report.GapNotRead, Detail: "no sign"}}
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

// TestMessages holds the exact words for each situation in testdata/messages.
func TestMessages(t *testing.T) {
	for name, images := range situations() {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, action := range []v1alpha1.Action{v1alpha1.ActionWarn, v1alpha1.ActionReject} {
				p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Action: action, OnUnknown: action, Binaries: v1alpha1.BinariesAll,
					OnScanError: v1alpha1.ScanErrorActions{Default: action}})
				write(&b, "Pod", policy.Evaluate(time.Unix(0, 0), []policy.Policy{p}, images))
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
		var b strings.Builder
		write(&b, "Deployment", decision)
		compareGolden(t, "workload-"+string(workloads), b.String())
	}
}

// TestTriggerMessages holds the exact words for each way that a container runs
// HAProxy, under a policy for calls at the start and one for all.
func TestTriggerMessages(t *testing.T) {
	official := &report.Configuration{User: "99", Entrypoint: []string{"docker-entrypoint.sh"}, Command: []string{"haproxy", "-f",
		"/usr/local/etc/haproxy/haproxy.cfg"}}
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
		"settings-root": {policy.Run{User: policy.UserRoot}, official,
			[]report.Settings{{Path: "/usr/local/etc/haproxy/haproxy.cfg", User: true, SetCap: true}}},
		"settings-hidden": {policy.Run{Mounts: []string{"/usr/local/etc/haproxy"}}, official,
			[]report.Settings{{Path: "/usr/local/etc/haproxy/haproxy.cfg", User: true}}},
	} {
		var b strings.Builder
		for _, trigger := range []v1alpha1.Trigger{v1alpha1.TriggerAny, v1alpha1.TriggerStart} {
			p := clusterPolicy(t, v1alpha1.CapsetPolicySpec{Trigger: trigger})
			images := situations()["legacy"]
			images[0].Run, images[0].Report.Configuration, images[0].Report.Settings = tt.run, tt.image, tt.settings
			b.WriteString("trigger: " + string(trigger) + "\n")
			write(&b, "Pod", policy.Evaluate(time.Unix(0, 0), []policy.Policy{p}, images))
		}
		compareGolden(t, "trigger-"+name, b.String())
	}
}

// write writes the warnings of a decision, or its denial.
func write(b *strings.Builder, kind string, d policy.Decision) {
	switch d.Action {
	case policy.ActionReject:
		b.WriteString("denied: " + wording.Denial(d.Findings) + "\n")
	case policy.ActionWarn:
		for _, w := range wording.Warnings(kind, "the list", d.Findings) {
			b.WriteString("warning: " + w + "\n")
		}
	case policy.ActionAudit, policy.ActionIgnore:
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
