package product

import (
	"slices"
	"strings"

	"github.com/capvet/capvet/internal/report"
)

// Trigger describes when the calls run in some releases of a product: by the user that
// starts the process, and by its configuration.
type Trigger struct {
	// Since is the first version with this trigger.
	Since string
	// Function and Syscall mark a file with this trigger, whatever its version: it
	// defines the function, or makes the system call.
	Function, Syscall string
	// ByVersion: an earlier trigger has the same marks, so that the version has to reach
	// Since as well.
	ByVersion bool

	// When and Why describe a process of unknown user and configuration. Why is one
	// sentence.
	When report.When
	Why  string
	// Root and NonRoot are the conditions for a process started as either.
	Root, NonRoot Condition
}

// Condition is the configuration under which the calls run at the start. Its zero value is
// met by every configuration.
type Condition struct {
	// Never: no configuration makes the calls.
	Never bool
	// Requires are directives that all have to be present, Excludes those that all have to
	// be absent.
	Requires, Excludes []Directive
	// Text completes "only with" if there are Requires, "unless" if there are Excludes.
	Text string
	// Note is added to the advice where the calls run under this condition.
	Note string
}

// Met reports whether a process makes the calls at its start, and whether that is certain.
// Nil settings are unknown: then directives count as absent.
func (c Condition) Met(s *report.Settings) (met, certain bool) {
	switch {
	case c.Never:
		return false, true
	case len(c.Requires)+len(c.Excludes) == 0:
		return true, true
	case s == nil:
		return len(c.Requires) == 0, false
	}
	return !slices.ContainsFunc(c.Requires, func(d Directive) bool { return !d.In(*s) }) &&
		!slices.ContainsFunc(c.Excludes, func(d Directive) bool { return d.In(*s) }), true
}

// applies reports whether a file has this trigger.
func (t Trigger) applies(f Found) bool {
	if t.Since == "" {
		return true
	}
	since, _ := ParseVersion(t.Since)
	version, ok := ParseVersion(f.Version)
	reached := ok && version.Compare(since) >= 0
	marked := slices.Contains(f.Functions, t.Function) ||
		slices.ContainsFunc(f.Calls, func(c report.Call) bool { return c.Syscall == t.Syscall || c.Function == t.Function })
	return marked && (reached || !t.ByVersion) || len(f.Calls) == 0 && reached
}

// triggerOf returns the trigger of a file.
func (p Product) triggerOf(f Found) Trigger {
	trigger := p.Triggers[0]
	for _, later := range p.Triggers[1:] {
		if later.applies(f) {
			trigger = later
		}
	}
	return trigger
}

// Trigger returns when the calls of a file run, whatever the Pod.
func (p Product) Trigger(f Found) report.Trigger {
	t := p.triggerOf(f)
	return report.Trigger{When: t.When, Why: t.Why}
}

// Legacy returns the advice about the legacy calls of a file, whatever the Pod.
func (p Product) Legacy(f Found) string {
	return strings.Join(p.Advice.Own(p.triggerOf(f)), " ")
}

// TriggerAt returns the first trigger of a product with that time, false if it has none.
// Legacy calls have at most one trigger per time.
func (p Product) TriggerAt(when report.When) (Trigger, bool) {
	if i := slices.IndexFunc(p.Triggers, func(t Trigger) bool { return t.When == when }); i >= 0 {
		return p.Triggers[i], true
	}
	return Trigger{}, false
}

// Own returns the advice for a trigger where user and configuration are unknown.
func (a Advice) Own(t Trigger) []string {
	if t.When == report.WhenStart {
		return a.AtStart(t.NonRoot)
	}
	return a.Conditional
}

// AtStart returns the advice for calls that run at every start under a condition.
func (a Advice) AtStart(c Condition) []string {
	if c.Note == "" {
		return a.Start
	}
	return append([]string{a.Start[0] + " " + c.Note}, a.Start[1:]...)
}
