package v1alpha1

// Action is what happens to a Pod that a rule finds fault with.
//
// +kubebuilder:validation:Enum=Ignore;Audit;Warn;Reject
type Action string

const (
	// ActionIgnore says and does nothing.
	ActionIgnore Action = "Ignore"
	// ActionAudit admits the Pod and leaves a trace in audit annotations, logs
	// and metrics.
	ActionAudit Action = "Audit"
	// ActionWarn admits the Pod and shows a warning to whoever created it.
	ActionWarn Action = "Warn"
	// ActionReject refuses the Pod.
	ActionReject Action = "Reject"
)

// WorkloadAction is what happens to a workload whose Pods a policy would reject.
//
// +kubebuilder:validation:Enum=Ignore;Warn;Reject
type WorkloadAction string

const (
	// WorkloadIgnore says nothing; the Pods are rejected one by one.
	WorkloadIgnore WorkloadAction = "Ignore"
	// WorkloadWarn admits the workload and warns whoever wrote it.
	WorkloadWarn WorkloadAction = "Warn"
	// WorkloadReject refuses the workload.
	WorkloadReject WorkloadAction = "Reject"
)

// Trigger says which legacy calls a policy is about, by when they run.
//
// +kubebuilder:validation:Enum=Any;Start
type Trigger string

const (
	// TriggerAny is every legacy call in the code, whenever it runs.
	TriggerAny Trigger = "Any"
	// TriggerStart is what this Pod will run when it starts.
	TriggerStart Trigger = "Start"
)

// ImageSelection says which images a policy wants read.
//
// +kubebuilder:validation:Enum=Hinted;All
type ImageSelection string

const (
	// ImagesHinted are those that show a sign of a known product.
	ImagesHinted ImageSelection = "Hinted"
	// ImagesAll are all.
	ImagesAll ImageSelection = "All"
)

// BinarySelection says which executables of an image a policy is about.
//
// +kubebuilder:validation:Enum=Proxies;All
type BinarySelection string

const (
	// BinariesProxies are known products, what is named like one, and what the
	// image itself runs.
	BinariesProxies BinarySelection = "Proxies"
	// BinariesAll are all executables.
	BinariesAll BinarySelection = "All"
)
