package policy

import (
	"strings"
	"testing"

	"github.com/capvet/capvet/api/v1alpha1"
)

func TestValidate(t *testing.T) {
	exempting := func(reason string, images ...string) v1alpha1.CapsetPolicySpec {
		return v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{{Images: images, Reason: reason}}}
	}
	for want, spec := range map[string]v1alpha1.CapsetPolicySpec{
		"":                                {Action: v1alpha1.ActionReject, Trigger: v1alpha1.TriggerStart, Architectures: []v1alpha1.Architecture{"arm64"}},
		`spec.action: "warn" is none of`:  {Action: "warn"},
		"spec.onScanError.registry: ":     {OnScanError: v1alpha1.ScanErrorActions{Registry: "x"}},
		"spec.workloads: ":                {Workloads: "Audit"},
		"spec.trigger: ":                  {Trigger: "Never"},
		"spec.architectures[0]: ":         {Architectures: []v1alpha1.Architecture{"sparc"}},
		"spec.exemptions[0].images: ":     exempting("r"),
		"spec.exemptions[0].images[1]: a": exempting("r", "a", "b c"),
		"spec.exemptions[0].reason: ":     exempting(" ", "a"),
	} {
		err := Validate(&spec)
		if (want == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v", want, err)
		}
	}
}
