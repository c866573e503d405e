package v1alpha1

// LabelMode is the label by which a namespace chooses among the presets: the
// ClusterCapsetPolicies that select it. It means nothing but what those say.
const LabelMode = "capvet.dev/mode"

// ModeOff asks for no policy. It holds where every ClusterCapsetPolicy leaves
// such namespaces out.
const ModeOff = "off"

// Modes returns the values of LabelMode that the presets use.
func Modes() []string { return []string{"audit", "warn", "reject", ModeOff} }

// LabelFail is the label by which a namespace chooses that its Pods are refused
// while capvet cannot answer, where the webhook configuration has that.
const LabelFail = "capvet.dev/fail"

// FailClosed is the value of LabelFail that does so; no other means anything.
const FailClosed = "closed"
