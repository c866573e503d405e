package policyspec

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/capvet/capvet/api/v1alpha1"
)

// Decode reads a policy in JSON into one of the kinds. As in an API server, field names are
// case-sensitive; unknown and duplicate fields are errors here.
func Decode(object []byte, into any) error {
	strict, err := kjson.UnmarshalStrict(object, into)
	return errors.Join(append(strict, err)...)
}

// Validate checks a policy as the schema of its kind does in an API server. The error names
// the field.
func Validate(spec *v1alpha1.CapsetPolicySpec) error {
	if err := checkBounds(spec); err != nil {
		return err
	}
	if err := validateEnums("spec", reflect.ValueOf(spec).Elem()); err != nil {
		return err
	}
	if spec.Architectures != nil && len(spec.Architectures) == 0 {
		return errors.New("spec.architectures: name at least one, or leave it out")
	}
	for i, arch := range spec.Architectures {
		if slices.Contains(spec.Architectures[:i], arch) {
			return fmt.Errorf("spec.architectures[%d]: %q is there twice", i, arch)
		}
	}
	for i := range spec.Exemptions {
		if err := validateExemption(&spec.Exemptions[i]); err != nil {
			return fmt.Errorf("spec.exemptions[%d].%w", i, err)
		}
	}
	return nil
}

// validateEnums checks every value of an enumerated type within v. Fields may be unset.
func validateEnums(field string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		enum, ok := v.Interface().(interface{ Values() []string })
		if ok && !slices.Contains(enum.Values(), v.String()) {
			return fmt.Errorf("%s: %q is none of %q", field, v.String(), enum.Values())
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := validateEnums(fmt.Sprintf("%s[%d]", field, i), v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if v.Field(i).IsZero() {
				continue
			}
			if err := validateEnums(field+"."+name, v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func validateExemption(e *v1alpha1.Exemption) error {
	if len(e.Images) == 0 {
		return errors.New("images: name at least one pattern")
	}
	for i, pattern := range e.Images {
		switch {
		case pattern == "" || strings.ContainsAny(pattern, " \t\r\n\f\v,"):
			return fmt.Errorf("images[%d]: a pattern is one image's name, without spaces or commas", i)
		case !matchable(pattern):
			return fmt.Errorf("images[%d]: no image has such a name: give it with registry and tag, "+
				"as docker.io/library/haproxy:3.0*, or begin with **", i)
		}
	}
	if strings.TrimSpace(e.Reason) == "" {
		return errors.New("reason: give a reason")
	}
	return nil
}

// matchable reports whether a pattern can match full image names, which have a registry and a
// tag or digest. The schemas of the kinds and of the chart have the same expression.
func matchable(pattern string) bool {
	return regexp.MustCompile(`^[^/]*([.:*][^/]*/.*[:@*]|[*][*])`).MatchString(pattern)
}
