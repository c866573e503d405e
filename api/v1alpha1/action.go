package v1alpha1

// Action is the response to a finding, from no response to denial of the Pod.
//
// +kubebuilder:validation:Enum=Ignore;Audit;Warn;Reject
type Action string

const (
	// ActionIgnore drops the finding.
	ActionIgnore Action = "Ignore"
	// ActionAudit admits the Pod and records the finding in audit annotations,
	// logs and metrics.
	ActionAudit Action = "Audit"
	// ActionWarn admits the Pod and returns a warning to the client.
	ActionWarn Action = "Warn"
	// ActionReject denies the Pod.
	ActionReject Action = "Reject"
)

// WorkloadAction is the response to a workload whose Pods a policy would reject.
//
// +kubebuilder:validation:Enum=Ignore;Warn;Reject
type WorkloadAction string

const (
	// WorkloadIgnore admits the workload in silence; its Pods are rejected later.
	WorkloadIgnore WorkloadAction = "Ignore"
	// WorkloadWarn admits the workload and returns a warning to the client.
	WorkloadWarn WorkloadAction = "Warn"
	// WorkloadReject denies the workload.
	WorkloadReject WorkloadAction = "Reject"
)

// Trigger selects legacy calls by the time they run.
//
// +kubebuilder:validation:Enum=Any;Start
type Trigger string

const (
	// TriggerAny selects every legacy call in the code.
	TriggerAny Trigger = "Any"
	// TriggerStart selects the calls that this Pod makes at its start.
	TriggerStart Trigger = "Start"
)

// ImageSelection selects the images that capvet reads for a policy.
//
// +kubebuilder:validation:Enum=Hinted;All
type ImageSelection string

const (
	// ImagesHinted selects images with a sign of a known product.
	ImagesHinted ImageSelection = "Hinted"
	// ImagesAll selects every image.
	ImagesAll ImageSelection = "All"
)

// BinarySelection selects the executables of an image that a policy judges.
//
// +kubebuilder:validation:Enum=Proxies;All
type BinarySelection string

const (
	// BinariesProxies selects known products, files named like one, and the
	// image's entry point.
	BinariesProxies BinarySelection = "Proxies"
	// BinariesAll selects every executable.
	BinariesAll BinarySelection = "All"
)
