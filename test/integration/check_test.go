//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/test/harness"
)

// TestCheckAgrees: of the same manifests under the same policies capvet check says
// what the webhook says: the decision, and the words. The policies are as kubectl
// gets them from the API server.
func TestCheckAgrees(t *testing.T) {
	binary, err := harness.BuildCommand(t.Context(), shared.root, "capvet", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	manifests := map[string]string{}
	for image, reference := range map[string]string{
		"legacy": shared.images.haproxy30, "fixed": shared.images.haproxy32, "missing": shared.images.missing,
		"amd64": shared.images.amd64Only, "corrupt": shared.images.corrupt,
	} {
		manifests["pod "+image] = fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"lb"},
			"spec":{"containers":[{"name":"lb","image":%q}]}}`, reference)
		for kind, manifest := range workloadManifests(reference) {
			if kind == "deployment" || image == "legacy" {
				manifests[kind+" "+image] = manifest
			}
		}
	}
	of := func(more string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"lb"},
			"spec":{%s,"containers":[{"name":"lb","image":%q}]}}`, more, shared.images.haproxy30)
	}
	manifests["pod of root"] = of(`"securityContext":{"runAsUser":0}`)
	manifests["pod on amd64"] = of(`"nodeSelector":{"kubernetes.io/arch":"amd64"}`)
	manifests["pod on Windows"] = of(`"nodeSelector":{"kubernetes.io/os":"windows"}`)
	manifests["pod with an init container"] = of(fmt.Sprintf(
		`"initContainers":[{"name":"first","image":%q,"command":["sleep","1"]}]`, shared.images.haproxy30))
	// The image shows no sign of a product, so only one container's command has it read.
	unsigned := pushFiles(t, "shop/shared:1", v1.Config{}, haproxy30File(t))
	manifests["pod whose containers share an image"] = fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"lb"},
		"spec":{"containers":[{"name":"app","image":%q},{"name":"lb","image":%q,"command":["haproxy"]}]}}`, unsigned, unsigned)
	with := func(change func(*v1alpha1.CapsetPolicySpec)) *v1alpha1.CapsetPolicySpec {
		spec := rejecting()
		change(spec)
		return spec
	}
	for name, spec := range map[string]*v1alpha1.CapsetPolicySpec{
		"warn": warning(), "reject": rejecting(), "default": {},
		"audit": {Action: v1alpha1.ActionAudit, OnUnknown: v1alpha1.ActionAudit,
			OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionWarn}},
		"reject-workloads": with(func(s *v1alpha1.CapsetPolicySpec) { s.Workloads = v1alpha1.WorkloadReject }),
		"ignore-workloads": with(func(s *v1alpha1.CapsetPolicySpec) { s.Workloads = v1alpha1.WorkloadIgnore }),
		"start": with(func(s *v1alpha1.CapsetPolicySpec) {
			s.Trigger, s.OnUnknown = v1alpha1.TriggerStart, v1alpha1.ActionWarn
		}),
		"amd64": with(func(s *v1alpha1.CapsetPolicySpec) { s.Architectures = []v1alpha1.Architecture{"amd64"} }),
		"errors": with(func(s *v1alpha1.CapsetPolicySpec) {
			s.OnScanError = v1alpha1.ScanErrorActions{Default: v1alpha1.ActionReject, NotFound: v1alpha1.ActionWarn}
		}),
		"exempt": with(func(s *v1alpha1.CapsetPolicySpec) {
			s.Exemptions = []v1alpha1.Exemption{{Images: []string{shared.images.haproxy30}, Reason: "vendor"}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			ns := namespace(t, spec)
			policies := filepath.Join(t.TempDir(), "policies.yaml")
			output, err := kubectl(t, "", "get", "cp", "-n", ns, "-o", "yaml")
			if err != nil {
				t.Fatal(output)
			}
			if err := os.WriteFile(policies, []byte(output), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, what := range slices.Sorted(maps.Keys(manifests)) {
				webhook := admitted(t, ns, manifests[what])
				offline := checkedOffline(t, manifests[what], binary, "check", "-f", "-", "--namespace", ns, "--policy", policies, "--output", "json",
					"--plain-http", shared.front.Host(), "--plain-http", shared.registry.Host())
				if diff := cmp.Diff(webhook, offline); diff != "" {
					t.Errorf("%s (-webhook +check):\n%s", what, diff)
				}
			}
		})
	}
}

// said is the answer about an object: the action, and the sentences of all lines, sorted.
type said struct {
	Action string
	Lines  []string
}

// sentences splits a line as a denial joins it.
func sentences(line string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "."), ". ")
}

// admitted is what the API server says, in a dry run.
func admitted(t *testing.T, ns, manifest string) said {
	t.Helper()
	output, err := kubectl(t, manifest, "create", "--dry-run=server", "-n", ns, "-f", "-")
	var s said
	if _, message, denied := strings.Cut(output, "denied the request: "); denied {
		s.Action = "Reject"
		// Of the sentences the first names the policy.
		s.Lines = sentences(message)[1:]
	} else if err != nil {
		t.Fatal(output)
	}
	for line := range strings.Lines(output) {
		// The command says with each finding which policy it is of.
		if warning, ok := strings.CutPrefix(line, "Warning: "); ok && !strings.HasPrefix(warning, "the polic") {
			s.Action, s.Lines = "Warn", append(s.Lines, sentences(warning)...)
		}
	}
	slices.Sort(s.Lines)
	s.Lines = slices.Compact(s.Lines)
	return s
}

// checkedOffline is what the command says. An action that nobody hears of is none.
func checkedOffline(t *testing.T, manifest string, command ...string) said {
	t.Helper()
	check := exec.CommandContext(t.Context(), command[0], command[1:]...)
	check.Stdin = strings.NewReader(manifest)
	var problems bytes.Buffer
	check.Stderr = &problems
	output, err := check.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var objects []struct {
		Action   string
		Findings []struct {
			Action  string
			Image   string
			Message []string
		}
		NotRead []struct{ Image string }
	}
	if err := json.Unmarshal(output, &objects); err != nil {
		t.Fatalf("%v: %s%s", err, output, problems.String())
	}
	var s said
	for _, o := range objects {
		if o.Action != "Warn" && o.Action != "Reject" {
			continue
		}
		s.Action = o.Action
		for _, f := range o.Findings {
			for _, unread := range o.NotRead {
				if unread.Image == f.Image {
					t.Errorf("%s is a finding and not read", f.Image)
				}
			}
			for _, line := range f.Message {
				s.Lines = append(s.Lines, sentences(line)...)
			}
		}
	}
	slices.Sort(s.Lines)
	s.Lines = slices.Compact(s.Lines)
	return s
}
