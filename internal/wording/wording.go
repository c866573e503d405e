// Package wording puts findings into words, for the warnings and denials of an
// API server and for the command line.
//
// It decides nothing. Findings may hold whatever an image's author put there:
// each text comes out printable and bounded, however long the names.
package wording

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// Bounds of what a person gets to read. The API server takes 4096 runes of
// warnings for one request over all webhooks; past that it cuts each to 256 and
// drops the rest. A warning with a control character vanishes in silence.
const (
	// MaxDenial bounds a denial, in runes.
	MaxDenial = 4000

	maxWarning         = 250 // runes in one warning
	maxWarningFindings = 4   // findings that get a warning of their own
	maxWarnings        = 8   // warnings for one request
	maxName            = 100 // runes of an image reference, path or version within a text
)

// Warnings words findings for whoever wrote an object of that kind: what will
// come of it, what was found, what to do, what it rests on. Details that several
// findings share are said once. list is where all of them are to be found.
func Warnings(kind, list string, findings []policy.Finding) []string {
	var lines []string
	shown := findings[:min(len(findings), maxWarningFindings)]
	for _, f := range findings {
		if f.Pods == v1alpha1.ActionReject {
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
		lines = append(lines, Advice(f)...)
	}
	for _, f := range shown {
		lines = append(lines, Evidence(f)...)
	}
	lines = Lines(lines)
	return append(lines[:min(len(lines), maxWarnings-1)], Lines([]string{by(findings)})...)
}

// by names the policies that warn, for whoever wants to ask.
func by(findings []policy.Finding) string {
	var names []string
	for _, f := range findings {
		if f.Action == v1alpha1.ActionWarn && !slices.Contains(names, f.Policy) {
			names = append(names, f.Policy)
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "the policy is " + names[0]
	}
	return fmt.Sprintf("the policies are %s and %d more", names[0], len(names)-1)
}

// Denial words findings as one message, the deciding ones first: a person who
// is refused sees nothing else.
func Denial(findings []policy.Finding) string {
	var sentences []string
	length := 0
	for i, f := range findings {
		if length > MaxDenial { // no more than that is shown
			break
		}
		if i == 0 || f.Policy != findings[i-1].Policy {
			sentences = append(sentences, verdict(f.Action)+" by "+f.Policy)
		}
		for _, sentence := range slices.Concat([]string{Headline(f)}, Advice(f), Evidence(f)) {
			if sentence != "" && !slices.Contains(sentences, sentence) {
				sentences = append(sentences, sentence)
				length += utf8.RuneCountInString(sentence)
			}
		}
	}
	return truncate(plain(strings.Join(sentences, ". ")), MaxDenial)
}

// verdict says what an action does to a finding.
func verdict(action v1alpha1.Action) string {
	switch action {
	case v1alpha1.ActionReject:
		return "rejected"
	case v1alpha1.ActionWarn:
		return "warned of"
	}
	return "noted"
}

// Headline says in one line what was found where.
func Headline(f policy.Finding) string {
	where := containers(f.Image.Containers) + " (" + shorten(f.Image.Reference) + ")"
	arch := f.Image.Architecture
	switch {
	case f.Rule == policy.RuleLegacy:
		return fmt.Sprintf("%s: %s makes %s capability calls on %s", where, program(f.Binary), legacyName(f.Binary.Capset.ABI), arch)
	case f.Rule == policy.RuleUnknown && f.Binary != nil && f.Binary.Capset.ABI.Legacy():
		return fmt.Sprintf("%s: %s has %s capability calls on %s, but it cannot be told whether this Pod runs them at its start",
			where, program(f.Binary), legacyName(f.Binary.Capset.ABI), arch)
	case f.Rule == policy.RuleUnknown && f.Binary != nil:
		return fmt.Sprintf("%s: %s may make capability calls on %s, but their version could not be read", where, program(f.Binary), arch)
	case f.Rule == policy.RuleUnknown:
		return fmt.Sprintf("%s: not all of the image could be read for %s, so nothing proves it clean", where, arch)
	case f.Image.Failure != nil && f.Image.Failure.Class == report.FailureTimeout:
		return fmt.Sprintf("%s: inspection for %s is pending; it goes on in the background, so a later attempt will know", where, arch)
	}
	class := report.FailureInternal
	if f.Image.Failure != nil {
		class = f.Image.Failure.Class
	}
	return fmt.Sprintf("%s: not inspected for %s: %s", where, arch, failureText(class))
}

// failureText says in a few words what a class of failure means.
func failureText(class report.FailureClass) string {
	switch class {
	case report.FailureTimeout:
		return "the time allowed ran out"
	case report.FailureUnauthorized:
		return "the registry accepted none of the Pod's credentials"
	case report.FailureNotFound:
		return "the registry has no such image"
	case report.FailureRateLimited:
		return "the registry asked to come back later"
	case report.FailureTooLarge:
		return "the image is over one of capvet's limits"
	case report.FailureMalformed:
		return "the image is broken"
	case report.FailureBlocked:
		return "capvet does not connect to that registry"
	case report.FailureRegistry:
		return "the registry could not be used"
	}
	return "capvet failed on it"
}

// Advice says what to do about a finding, a sentence each, the fix first.
func Advice(f policy.Finding) []string {
	if f.Binary == nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(f.Binary.Advice, "."), ". ")
}

// Evidence says what a finding rests on.
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

// binaryEvidence says which call decides the verdict, and when it runs.
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
		lines = append(lines, "it "+trigger.Why)
	}
	return lines
}

// program names a binary as a person knows it.
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

// Lines makes lines fit to be sent as warnings: printable, bounded,
// without repetition.
func Lines(lines []string) []string {
	var fit []string
	for _, line := range lines {
		line = truncate(plain(line), maxWarning)
		if line != "" && !slices.Contains(fit, line) {
			fit = append(fit, line)
		}
	}
	return fit
}

// plain replaces what is not printable: the API server drops warnings with
// control characters, and names from an image may hold anything.
func plain(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) { // as most are
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
}

// shorten cuts the middle out of a name that is too long.
func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxName {
		return s
	}
	runes := []rune(s)
	half := maxName / 2
	return string(runes[:half]) + "…" + string(runes[len(runes)-half+1:])
}

// truncate cuts s at limit runes.
func truncate(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	return string(runes[:limit-1]) + "…"
}
