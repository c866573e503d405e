package policyspec

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	kjson "sigs.k8s.io/json"

	"github.com/capvet/capvet/api/v1alpha1"
)

// Bounds of a policy, as in the kinds' schemas.
const (
	maxExemptions = 256
	maxPatterns   = 64
	maxText       = 512 // runes of a pattern or a reason
)

// Decode reads a policy that no API server has seen from JSON, into a policy of
// one of the kinds. As for an API server, names of fields are known in their own
// case alone, and what is not known is an error.
func Decode(object []byte, into any) error {
	strict, err := kjson.UnmarshalStrict(object, into)
	return errors.Join(append(strict, err)...)
}

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
	if spec.Architectures != nil && len(spec.Architectures) == 0 {
		return errors.New("spec.architectures: name at least one, or leave it out")
	}
	for i, arch := range spec.Architectures {
		if err := oneOf(fmt.Sprintf("architectures[%d]", i), arch, v1alpha1.Architectures()); err != nil {
			return err
		}
		if slices.Contains(spec.Architectures[:i], arch) {
			return fmt.Errorf("spec.architectures[%d]: %q is there twice", i, arch)
		}
	}
	if len(spec.Exemptions) > maxExemptions {
		return fmt.Errorf("spec.exemptions: more than %d", maxExemptions)
	}
	for i := range spec.Exemptions {
		if err := validateExemption(&spec.Exemptions[i]); err != nil {
			return fmt.Errorf("spec.exemptions[%d].%w", i, err)
		}
	}
	return nil
}

func validateExemption(e *v1alpha1.Exemption) error {
	if len(e.Images) == 0 || len(e.Images) > maxPatterns {
		return fmt.Errorf("images: name at least one pattern, and at most %d", maxPatterns)
	}
	for i, pattern := range e.Images {
		switch {
		case pattern == "" || strings.ContainsAny(pattern, " \t\r\n\f\v,") || utf8.RuneCountInString(pattern) > maxText:
			return fmt.Errorf("images[%d]: a pattern is one image's name of at most %d characters, without spaces or commas", i, maxText)
		case !matchable(pattern):
			return fmt.Errorf("images[%d]: no image has such a name: give it with registry and tag, as docker.io/library/haproxy:3.0*, or begin with **", i)
		}
	}
	switch {
	case strings.TrimSpace(e.Reason) == "":
		return errors.New("reason: say why")
	case utf8.RuneCountInString(e.Reason) > maxText:
		return fmt.Errorf("reason: more than %d characters", maxText)
	}
	return nil
}

// matchable reports whether there are image names that a pattern matches, which
// have a registry, and a tag or a digest. The kinds' schemas and the chart's have
// the same expression.
func matchable(pattern string) bool {
	return regexp.MustCompile(`^[^/]*([.:*][^/]*/.*[:@*]|[*][*])`).MatchString(pattern)
}

func oneOf[T ~string](field string, value T, known []T) error {
	if !slices.Contains(known, value) {
		return fmt.Errorf("spec.%s: %q is none of %q", field, value, slices.DeleteFunc(slices.Clone(known), func(k T) bool { return k == "" }))
	}
	return nil
}
