// Package wording words findings for people: in the warnings and denials of an API server,
// and on the command line.
//
// It is not for judging. Findings may hold any text that an image's author chose: all text
// comes out printable and of bounded length.
package wording

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// Bounds. The API server takes 4096 runes of warnings for one request over all webhooks; past
// that it cuts each to 256 and drops the rest. It drops a warning with a control character.
const (
	// MaxDenial bounds a denial, in runes.
	MaxDenial = 4000

	maxWarning         = 250 // runes in one warning
	maxWarningFindings = 4   // findings that get a warning of their own
	maxWarnings        = 12  // warnings for one request
	maxDenialFindings  = 256 // findings that a denial is made from, many of which may read alike
	maxBroken          = 4   // warnings about broken policies for one request
	maxName            = 100 // runes of an image reference, path or version within a text

	// maxText bounds the bytes of a text that are looked at: more than any bound in runes.
	maxText = 4 * utf8.UTFMax * MaxDenial
)

// Warnings words findings for the author of an object of that kind: the consequence, the
// findings, the advice, and the evidence, each line once. list is the place of the full list.
func Warnings(kind, list string, findings []policy.Finding) []string {
	var lines []string
	shown := findings[:min(len(findings), maxWarningFindings)]
	for _, f := range findings {
		if f.Pods == policy.ActionReject {
			lines = append(lines, "Pods of this template will be rejected by "+f.PodsPolicy)
			break
		}
	}
	for _, f := range shown {
		lines = append(lines, Headline(f))
	}
	if more := len(findings) - len(shown); more > 0 {
		findings, them := "findings", "them"
		if more == 1 {
			findings, them = "finding", "it"
		}
		lines = append(lines, fmt.Sprintf("and %d more %s in this %s; %s lists %s", more, findings, kind, list, them))
	}
	for _, f := range shown {
		lines = append(lines, f.Advice...)
	}
	for _, f := range shown {
		lines = append(lines, Evidence(f)...)
	}
	lines = Lines(lines)
	return append(lines[:min(len(lines), maxWarnings-1)], Lines([]string{by(findings)})...)
}

// by names the policies that warn.
func by(findings []policy.Finding) string {
	names := map[string]bool{}
	first := ""
	for _, f := range findings {
		if f.Action == policy.ActionWarn {
			first = cmp.Or(first, f.Policy)
			names[f.Policy] = true
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "the policy is " + first
	}
	return fmt.Sprintf("the policies are %s and %d more", first, len(names)-1)
}

// Broken words warnings about broken policies, of which a namespace may have many.
func Broken(warnings []string) []string {
	lines := Lines(warnings[:min(len(warnings), maxBroken)])
	if more := len(warnings) - maxBroken; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more policies are broken", more))
	}
	return lines
}

// Denial words findings as one message, the strictest first: the only text that the author of
// a rejected object sees.
func Denial(findings []policy.Finding) string {
	var sentences []string
	length := 0
	for i, f := range findings[:min(len(findings), maxDenialFindings)] {
		if length > MaxDenial { // the rest would be cut
			break
		}
		if i == 0 || f.Policy != findings[i-1].Policy {
			sentences = append(sentences, verdict(f.Action)+" by "+f.Policy)
		}
		for _, sentence := range slices.Concat([]string{Headline(f)}, f.Advice, Evidence(f)) {
			if sentence != "" && !slices.Contains(sentences, sentence) {
				sentences = append(sentences, sentence)
				length += utf8.RuneCountInString(sentence)
			}
		}
	}
	return truncate(plain(Join(sentences)), MaxDenial)
}

// Join joins lines to one text. A line may be a sentence or a headline without a full stop.
func Join(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteString(". ")
		}
		b.WriteString(strings.TrimSuffix(line, "."))
	}
	return b.String()
}

// verdict is the past participle of an action.
func verdict(action policy.Action) string {
	switch action {
	case policy.ActionReject:
		return "rejected"
	case policy.ActionWarn:
		return "warned of"
	case policy.ActionAudit, policy.ActionIgnore:
	}
	return "noted"
}

// Headline words a finding in one line, with its container, image and architecture.
func Headline(f policy.Finding) string {
	return fmt.Sprintf("%s (%s): %s", containers(f.Image.Containers), shorten(f.Image.Reference), headline(f, f.Image.Architecture))
}

func headline(f policy.Finding, arch string) string {
	switch {
	case f.Rule == policy.RuleLegacy && f.Trigger != nil && f.Trigger.When != report.WhenStart:
		return fmt.Sprintf("%s has %s capability calls on %s", program(f.Binary), legacyName(f.Binary.Capset.ABI), arch)
	case f.Rule == policy.RuleLegacy:
		return fmt.Sprintf("%s makes %s capability calls on %s", program(f.Binary), legacyName(f.Binary.Capset.ABI), arch)
	case f.Binary != nil && f.Binary.Capset.ABI.Legacy():
		return fmt.Sprintf("%s has %s capability calls on %s, but it is unknown whether this Pod makes them at its start",
			program(f.Binary), legacyName(f.Binary.Capset.ABI), arch)
	case f.Binary != nil:
		return fmt.Sprintf("%s may make capability calls on %s, but their version could not be read", program(f.Binary), arch)
	case f.Rule == policy.RuleUnknown:
		return fmt.Sprintf("not all of the image could be read for %s, so nothing proves it clean", arch)
	}
	class := f.Image.FailureClass()
	if class == report.FailureTimeout {
		return fmt.Sprintf("inspection for %s is pending; it continues in the background, so a later attempt will have the result", arch)
	}
	return fmt.Sprintf("not inspected for %s: %s", arch, failureText(class))
}

// failureText words a class of error; an unknown class stands for itself.
func failureText(class report.FailureClass) string {
	switch class {
	case report.FailureTimeout:
		return "the time allowed ran out"
	case report.FailureUnauthorized:
		return "the registry accepted none of the Pod's credentials"
	case report.FailureNotFound:
		return "the registry has no such image"
	case report.FailureRateLimited:
		return "the registry is limiting requests; try again later"
	case report.FailureTooLarge:
		return "the image is over one of capvet's limits"
	case report.FailureMalformed:
		return "the image is broken"
	case report.FailureBlocked:
		return "capvet does not connect to that registry"
	case report.FailureRegistry:
		return "the registry could not be used"
	case report.FailureInternal:
		return "capvet failed on it"
	}
	return string(class)
}

// Evidence words the facts that a finding rests on.
func Evidence(f policy.Finding) []string {
	switch {
	case f.Binary != nil:
		return binaryEvidence(f.Binary, f.Trigger)
	case f.Gap != nil:
		return []string{strings.TrimSuffix(fmt.Sprintf("not read: %s (%s): %s", shorten(f.Gap.Where), f.Gap.Reason, f.Gap.Detail), ": ")}
	case f.Image.Failure != nil && f.Image.Failure.Class != report.FailureTimeout:
		return []string{f.Image.Failure.Detail}
	}
	return nil
}

// binaryEvidence words the call that decides the verdict, and when it runs.
func binaryEvidence(b *report.Binary, trigger *report.Trigger) []string {
	text := shorten(b.Path)
	call := slices.IndexFunc(b.Capset.Calls, func(c report.Call) bool { return c.ABI == b.Capset.ABI })
	switch {
	case call >= 0:
		c := b.Capset.Calls[call]
		text += " calls " + c.Syscall
		if c.Function != "" {
			text += " in " + shorten(c.Function)
		}
		text += " at " + c.Address
		if c.ABI == report.ABIUnknown && c.Header != "" {
			text += ": " + c.Header
		}
	case b.Capset.Reason != "":
		text += ": " + b.Capset.Reason
	}
	lines := []string{text}
	if trigger != nil && trigger.Why != "" {
		lines = append(lines, trigger.Why)
	}
	return lines
}

// program returns the product and version of a binary, or its path.
func program(b *report.Binary) string {
	if b.Product == nil {
		return shorten(b.Path)
	}
	return strings.TrimSpace(b.Product.Name + " " + shorten(b.Product.Version))
}

func legacyName(abi report.ABI) string {
	if abi == report.ABIV1 {
		return "legacy 32-bit (v1)"
	}
	return "deprecated (" + string(abi) + ")"
}

func containers(names []string) string {
	if len(names) == 0 {
		return "container"
	}
	text := fmt.Sprintf("container %q", names[0])
	if more := len(names) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
