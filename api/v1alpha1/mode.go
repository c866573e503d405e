package v1alpha1

// LabelMode is the namespace label that the preset ClusterCapsetPolicies select
// by. It has no other effect.
const LabelMode = "capvet.dev/mode"

// ModeOff opts a namespace out. It works only if no ClusterCapsetPolicy selects
// namespaces with this value.
const ModeOff = "off"

// Modes returns the values of LabelMode that the presets use.
func Modes() []string { return []string{"audit", "warn", "reject", ModeOff} }

// LabelFail is the namespace label that selects the fail-closed webhook, if the
// webhook configuration has one: its Pods are denied while capvet is unavailable.
const LabelFail = "capvet.dev/fail"

// FailClosed is the only value of LabelFail with an effect.
const FailClosed = "closed"
