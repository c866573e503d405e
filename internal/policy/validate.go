package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/capvet/capvet/api/v1alpha1"
)

// Validate checks what an API server would have checked of a policy that none
// has seen. The error names the field.
func Validate(spec *v1alpha1.CapsetPolicySpec) error {
	actions := []v1alpha1.Action{"", v1alpha1.ActionIgnore, v1alpha1.ActionAudit, v1alpha1.ActionWarn, v1alpha1.ActionReject}
	onError := spec.OnScanError
	for _, field := range []struct {
		name  string
		value v1alpha1.Action
	}{
		{"action", spec.Action}, {"onUnknown", spec.OnUnknown}, {"onScanError.default", onError.Default}, {"onScanError.timeout", onError.Timeout},
		{"onScanError.unauthorized", onError.Unauthorized}, {"onScanError.notFound", onError.NotFound}, {"onScanError.rateLimited", onError.RateLimited},
		{"onScanError.tooLarge", onError.TooLarge}, {"onScanError.malformed", onError.Malformed}, {"onScanError.blocked", onError.Blocked}, {"onScanError.registry", onError.Registry},
	} {
		if err := oneOf(field.name, field.value, actions); err != nil {
			return err
		}
	}
	if err := oneOf("workloads", spec.Workloads, []v1alpha1.WorkloadAction{"", v1alpha1.WorkloadIgnore, v1alpha1.WorkloadWarn, v1alpha1.WorkloadReject}); err != nil {
		return err
	}
	if err := oneOf("trigger", spec.Trigger, []v1alpha1.Trigger{"", v1alpha1.TriggerAny, v1alpha1.TriggerStart}); err != nil {
		return err
	}
	if err := oneOf("images", spec.Images, []v1alpha1.ImageSelection{"", v1alpha1.ImagesHinted, v1alpha1.ImagesAll}); err != nil {
		return err
	}
	if err := oneOf("binaries", spec.Binaries, []v1alpha1.BinarySelection{"", v1alpha1.BinariesProxies, v1alpha1.BinariesAll}); err != nil {
		return err
	}
	for i, arch := range spec.Architectures {
		if err := oneOf(fmt.Sprintf("architectures[%d]", i), arch, v1alpha1.Architectures()); err != nil {
			return err
		}
	}
	for i, e := range spec.Exemptions {
		if len(e.Images) == 0 {
			return fmt.Errorf("spec.exemptions[%d].images: name at least one pattern", i)
		}
		for j, pattern := range e.Images {
			if pattern == "" || strings.ContainsAny(pattern, " \t\r\n,") {
				return fmt.Errorf("spec.exemptions[%d].images[%d]: a pattern is one image's name, without spaces or commas", i, j)
			}
		}
		if strings.TrimSpace(e.Reason) == "" {
			return fmt.Errorf("spec.exemptions[%d].reason: say why", i)
		}
	}
	return nil
}

func oneOf[T ~string](field string, value T, known []T) error {
	if !slices.Contains(known, value) {
		return fmt.Errorf("spec.%s: %q is none of %q", field, value, slices.DeleteFunc(slices.Clone(known), func(k T) bool { return k == "" }))
	}
	return nil
}
