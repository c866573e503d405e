package policy

import "slices"

// Action is the consequence of a finding for the Pod or workload. The values are
// those of v1alpha1.Action.
type Action string

// Actions.
const (
	ActionIgnore Action = "Ignore"
	ActionAudit  Action = "Audit"
	ActionWarn   Action = "Warn"
	ActionReject Action = "Reject"
)

// Stricter returns the stricter of a and b. An unknown action ranks below all others.
func Stricter(a, b Action) Action {
	if b.strictness() > a.strictness() {
		return b
	}
	return a
}

func (a Action) strictness() int {
	return slices.Index([]Action{ActionIgnore, ActionAudit, ActionWarn, ActionReject}, a)
}
