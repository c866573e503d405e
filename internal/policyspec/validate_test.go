package policyspec

import (
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
)

func TestValidate(t *testing.T) {
	exempting := func(reason string, images ...string) v1alpha1.CapsetPolicySpec {
		return v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{{Images: images, Reason: reason}}}
	}
	for want, spec := range map[string]v1alpha1.CapsetPolicySpec{
		"": {Action: v1alpha1.ActionReject, Trigger: v1alpha1.TriggerStart,
			Architectures: []v1alpha1.Architecture{"arm64"}},
		`spec.action: "warn" is none of`:  {Action: "warn"},
		"spec.onScanError.registry: ":     {OnScanError: v1alpha1.ScanErrorActions{Registry: "x"}},
		"spec.workloads: ":                {Workloads: "Audit"},
		"spec.trigger: ":                  {Trigger: "Never"},
		"spec.architectures[0]: ":         {Architectures: []v1alpha1.Architecture{"sparc"}},
		"spec.exemptions[0].images: ":     exempting("r"),
		"spec.exemptions[0].images[1]: a": exempting("r", "**", "b c"),
		"spec.exemptions[0].images[0]: 513 characters, the limit is 512": exempting("r", "**"+strings.Repeat("é", 511)),
		"spec.exemptions[0].images[0]: n":                                exempting("r", "haproxy:3.0*"),
		"spec.exemptions[0].images: 65 entries, the limit is 64":         exempting("r", slices.Repeat([]string{"**"}, 65)...),
		"spec.exemptions[0].reason: g":                                   exempting(" ", "**"),
		"spec.exemptions[0].reason: 513 characters, the limit is 512":    exempting(strings.Repeat("é", 513), "**"),
		"spec.exemptions: 65 entries, the limit is 64":                   {Exemptions: slices.Repeat(exempting("r", "**").Exemptions, 65)},
		"spec.architectures: ":                                           {Architectures: []v1alpha1.Architecture{}},
		"spec.architectures[1]: ":                                        {Architectures: []v1alpha1.Architecture{"arm64", "arm64"}},
	} {
		err := Validate(&spec)
		if (want == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}

// TestMatchable: a pattern has to match the full name of some image.
func TestMatchable(t *testing.T) {
	for pattern, want := range map[string]bool{
		"**": true, "**/haproxy:3.0*": true, "**haproxy**": true, "docker.io/library/haproxy:3.0*": true, "docker.io/library/haproxy*": true,
		"docker.io/library/haproxy@sha256:*": true, "registry.example.com/legacy/**": true, "registry:5000/x:1": true,
		"*/haproxy:3.0": true, "*.example.com/**": true, "docker.io**": true,
		"haproxy": false, "haproxy:3.0": false, "haproxy:3.0*": false, "haproxy*": false, "*": false, "library/haproxy:3.0": false,
		"legacy/**":                 false,
		"docker.io/library/haproxy": false, "registry:5000/x": false, "docker.io": false,
	} {
		if got := matchable(pattern); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}

// TestDecodeIsStrict: a field that an API server would not know is an error.
func TestDecodeIsStrict(t *testing.T) {
	for object, want := range map[string]string{
		`{"spec":{"action":"Reject","exemptions":[{"images":["**"],"reason":"r","expires":"2027-03-31T00:00:00Z"}]}}`: "",
		`{"spec":{"Action":"Reject"}}`:                 `unknown field "spec.Action"`,
		`{"spec":{"onScanError":{"Timeout":"Warn"}}}`:  `unknown field "spec.onScanError.Timeout"`,
		`{"spec":{"action":"Warn","action":"Reject"}}`: `duplicate field "spec.action"`,
		`{"spec":{"action":1}}`:                        "cannot unmarshal number",
	} {
		var p v1alpha1.ClusterCapsetPolicy
		err := Decode([]byte(object), &p)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", object, err)
		}
	}
}
