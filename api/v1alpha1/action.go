package v1alpha1

// Action is the response to a finding, from no response to denial of the Pod.
//
// +kubebuilder:validation:Enum=Ignore;Audit;Warn;Reject
type Action string

// Actions.
const (
	ActionIgnore Action = "Ignore" // drops the finding
	ActionAudit  Action = "Audit"  // admits the Pod; the finding is in audit annotations, logs and metrics
	ActionWarn   Action = "Warn"   // admits the Pod and returns a warning to the client
	ActionReject Action = "Reject" // denies the Pod
)

// WorkloadAction is the response to a workload whose Pods a policy would reject.
//
// +kubebuilder:validation:Enum=Ignore;Warn;Reject
type WorkloadAction string

// Actions for workloads.
const (
	WorkloadIgnore WorkloadAction = "Ignore" // admits the workload in silence; its Pods are rejected later
	WorkloadWarn   WorkloadAction = "Warn"   // admits the workload and returns a warning to the client
	WorkloadReject WorkloadAction = "Reject" // denies the workload
)

// Trigger selects legacy calls by the time they run.
//
// +kubebuilder:validation:Enum=Any;Start
type Trigger string

// Triggers.
const (
	TriggerAny   Trigger = "Any"   // every legacy call in the code
	TriggerStart Trigger = "Start" // the calls that this Pod makes at its start
)

// ImageSelection selects the images that capvet reads for a policy.
//
// +kubebuilder:validation:Enum=Hinted;All
type ImageSelection string

// Selections of images.
const (
	ImagesHinted ImageSelection = "Hinted" // images with a sign of a known product
	ImagesAll    ImageSelection = "All"    // every image
)

// BinarySelection selects the executables of an image that a policy judges.
//
// +kubebuilder:validation:Enum=Proxies;All
type BinarySelection string

// Selections of executables.
const (
	BinariesProxies BinarySelection = "Proxies" // known products, files named like one, and the image's entry point
	BinariesAll     BinarySelection = "All"     // every executable
)
