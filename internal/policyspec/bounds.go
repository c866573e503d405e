package policyspec

import (
	"fmt"
	"unicode/utf8"

	"github.com/capvet/capvet/api/v1alpha1"
)

// Bounds of a policy, as in the kinds' schemas. Lengths are in characters.
const (
	maxArchitectures = 6
	maxExemptions    = 64
	maxPatterns      = 64 // of one exemption
	maxText          = 512
	// maxExemptionText bounds the patterns and reasons of all exemptions together.
	maxExemptionText = 16_384
	maxLabels        = 16 // of matchLabels, and of matchExpressions
	maxLabelKey      = 317
	maxLabelValue    = 63
	maxValues        = 256 // of all matchExpressions of one selector
)

// checkBounds returns an error with the first field that exceeds its bound. Objects that
// an earlier version of the schema admitted can exceed all of them. Its cost is a count of
// each text that is within its bound, and of one beyond.
func checkBounds(spec *v1alpha1.CapsetPolicySpec) error {
	if n := len(spec.Architectures); n > maxArchitectures {
		return exceeds("spec.architectures", n, maxArchitectures, "entries")
	}
	if err := checkSelector("spec.podSelector", &spec.PodSelector); err != nil {
		return err
	}
	if n := len(spec.Exemptions); n > maxExemptions {
		return exceeds("spec.exemptions", n, maxExemptions, "entries")
	}
	total := 0
	for i := range spec.Exemptions {
		field := fmt.Sprintf("spec.exemptions[%d]", i)
		n, err := checkExemption(field, &spec.Exemptions[i])
		if err != nil {
			return err
		}
		if total += n; total > maxExemptionText {
			return fmt.Errorf("spec.exemptions: patterns and reasons up to %s have %d characters, the limit for all is %d",
				field, total, maxExemptionText)
		}
	}
	return nil
}

// checkExemption returns the number of characters of an exemption.
func checkExemption(field string, e *v1alpha1.Exemption) (int, error) {
	if n := len(e.Images); n > maxPatterns {
		return 0, exceeds(field+".images", n, maxPatterns, "entries")
	}
	total, err := lengthOf(field+".reason", e.Reason, maxText)
	for i, pattern := range e.Images {
		if err != nil {
			break
		}
		var n int
		n, err = lengthOf(fmt.Sprintf("%s.images[%d]", field, i), pattern, maxText)
		total += n
	}
	return total, err
}

func checkSelector(field string, s *v1alpha1.LabelSelector) error {
	if n := len(s.MatchLabels); n > maxLabels {
		return exceeds(field+".matchLabels", n, maxLabels, "entries")
	}
	for key, value := range s.MatchLabels {
		if _, err := lengthOf(field+".matchLabels: a key", key, maxLabelKey); err != nil {
			return err
		}
		if _, err := lengthOf(field+".matchLabels: a value", string(value), maxLabelValue); err != nil {
			return err
		}
	}
	if n := len(s.MatchExpressions); n > maxLabels {
		return exceeds(field+".matchExpressions", n, maxLabels, "entries")
	}
	values := 0
	for i := range s.MatchExpressions {
		r := &s.MatchExpressions[i]
		if values += len(r.Values); values > maxValues {
			return exceeds(field+".matchExpressions", values, maxValues, "values")
		}
		if _, err := lengthOf(fmt.Sprintf("%s.matchExpressions[%d].key", field, i), r.Key, maxLabelKey); err != nil {
			return err
		}
		for j, value := range r.Values {
			if _, err := lengthOf(fmt.Sprintf("%s.matchExpressions[%d].values[%d]", field, i, j), string(value), maxLabelValue); err != nil {
				return err
			}
		}
	}
	return nil
}

// lengthOf returns the number of characters of a text, or an error if it exceeds limit.
func lengthOf(field, text string, limit int) (int, error) {
	n := utf8.RuneCountInString(text)
	if n > limit {
		return n, exceeds(field, n, limit, "characters")
	}
	return n, nil
}

func exceeds(field string, size, limit int, unit string) error {
	return fmt.Errorf("%s: %d %s, the limit is %d", field, size, unit, limit)
}
