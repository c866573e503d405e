package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Architecture is a node architecture as a GOARCH name, the form of the node
// label kubernetes.io/arch.
//
// +kubebuilder:validation:Enum=amd64;arm;arm64;ppc64le;riscv64;s390x
type Architecture string

// CapsetPolicySpec is the response to Pods whose images make legacy capability
// calls.
type CapsetPolicySpec struct {
	// podSelector selects Pods by label. An empty selector selects every Pod.
	//
	// +optional
	PodSelector LabelSelector `json:"podSelector,omitzero"`

	// architectures are the node architectures that the policy covers. capvet
	// judges a Pod for each of them that some eligible node has, and reads the
	// image's manifest for that architecture. nodeName, nodeSelector, required
	// node affinity and tolerations decide which nodes are eligible. The kernel
	// logs legacy calls on every architecture; the reports come from arm64.
	//
	// +optional
	// +kubebuilder:default={arm64}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	// +listType=set
	Architectures []Architecture `json:"architectures,omitempty"`

	// images selects the images that capvet reads. Hinted selects images with a
	// sign of a known product (haproxy, or nginx and its derivatives) in the
	// reference, in the image configuration (ENTRYPOINT, CMD, ENV, labels,
	// history) or in the container's command. Of other images capvet reads only
	// the manifest and the configuration, and the decision records that. All
	// selects every image; only All proves the absence of legacy calls. If
	// several policies match, capvet reads an image that any of them selects, and
	// each policy judges the result.
	//
	// +optional
	// +kubebuilder:default=Hinted
	Images ImageSelection `json:"images,omitempty"`

	// binaries selects the executables that the policy judges. Proxies selects
	// known products, files named like one, and the image's entry point. All
	// selects every ELF executable; reading an image then takes longer. Libraries
	// count only as part of the programs that use them.
	//
	// +optional
	// +kubebuilder:default=Proxies
	Binaries BinarySelection `json:"binaries,omitempty"`

	// action is the response to a binary with calls of the legacy capability ABI
	// (v1, or the deprecated v2).
	//
	// +optional
	// +kubebuilder:default=Warn
	Action Action `json:"action,omitempty"`

	// trigger selects legacy calls by the time they run. Any selects every call in
	// the binary's code. Start selects the calls that this Pod makes at its start,
	// given its securityContext and command. Start ignores calls that need a
	// particular configuration, unless capvet has read that configuration. If
	// capvet cannot determine the trigger, onUnknown applies.
	//
	// +optional
	// +kubebuilder:default=Any
	Trigger Trigger `json:"trigger,omitempty"`

	// workloads is the response to a Deployment, ReplicaSet, StatefulSet,
	// DaemonSet, Job, CronJob or ReplicationController whose Pods this policy
	// would reject. A controller discards the warnings on the Pods that it
	// creates; a warning on the workload reaches its author. If the policy would
	// warn about the Pods, it also warns about the workload, whatever this field
	// holds. capvet ignores updates that leave the Pod template unchanged.
	//
	// +optional
	// +kubebuilder:default=Warn
	Workloads WorkloadAction `json:"workloads,omitempty"`

	// onUnknown is the response to a binary with possible capability calls of an
	// unknown version.
	//
	// +optional
	// +kubebuilder:default=Warn
	OnUnknown Action `json:"onUnknown,omitempty"`

	// onScanError is the response to an unreadable image, by class of error.
	//
	// +optional
	// +kubebuilder:default={default:Warn}
	OnScanError ScanErrorActions `json:"onScanError,omitzero"`

	// exemptions are the images that this policy ignores. capvet applies them
	// before it contacts a registry. All their patterns and reasons together have
	// at most 16384 characters.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.map(e, size(e.reason) + e.images.map(i, size(i)).sum()).sum() <= 16384",message="patterns and reasons have more than 16384 characters"
	// +listType=atomic
	Exemptions []Exemption `json:"exemptions,omitempty"`
}

// ScanErrorActions maps classes of scan errors to actions. A class without an
// action of its own gets the default's.
type ScanErrorActions struct {
	// default applies to each class without an action of its own, and to internal
	// errors of capvet.
	//
	// +optional
	// +kubebuilder:default=Warn
	Default Action `json:"default,omitempty"`
	// timeout: the scan exceeded the time limit. It continues in the background,
	// so a second attempt often finds the result.
	//
	// +optional
	Timeout Action `json:"timeout,omitempty"`
	// unauthorized: the registry rejected all of the Pod's credentials.
	//
	// +optional
	Unauthorized Action `json:"unauthorized,omitempty"`
	// notFound: the registry has no such image.
	//
	// +optional
	NotFound Action `json:"notFound,omitempty"`
	// rateLimited: the registry throttled the request.
	//
	// +optional
	RateLimited Action `json:"rateLimited,omitempty"`
	// tooLarge: the image, or the object with it, exceeds one of capvet's limits on
	// sizes and counts.
	//
	// +optional
	TooLarge Action `json:"tooLarge,omitempty"`
	// malformed: the image violates its format, or its content does not match its
	// digest.
	//
	// +optional
	Malformed Action `json:"malformed,omitempty"`
	// blocked: capvet refuses connections to the registry's address.
	//
	// +optional
	Blocked Action `json:"blocked,omitempty"`
	// registry: any other failure between capvet and the registry.
	//
	// +optional
	Registry Action `json:"registry,omitempty"`
}

// Exemption is a set of images that a policy ignores.
type Exemption struct {
	// images are patterns for complete image references: registry, repository, and
	// tag or digest. capvet completes a Pod's reference with the default registry
	// before matching. "*" matches any characters except "/", and "**" matches
	// any characters: "registry.example.com/legacy/**" matches every image in
	// that folder, "docker.io/library/haproxy:3.0*" the images of one version.
	// The API server refuses a pattern such as "haproxy", which cannot match a
	// complete reference.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^[^\s,/]*([.:*][^\s,/]*/[^\s,]*[:@*]|[*][*])[^\s,]*$`
	// +kubebuilder:validation:items:XValidation:rule="self.contains('/') || self.contains('**')",message="no image has such a name: give it with registry and tag, as docker.io/library/haproxy:3.0*, or begin with **"
	// +listType=atomic
	Images []string `json:"images"`
	// reason explains the exemption to readers of the policy and the audit log.
	//
	// +kubebuilder:validation:XValidation:rule="self.trim() != ''",message="say why"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
	// expires is the end of the exemption, for example 2027-03-31T00:00:00Z. An
	// exemption without it does not expire.
	//
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// ClusterCapsetPolicySpec is a CapsetPolicySpec with a selector of namespaces.
type ClusterCapsetPolicySpec struct {
	// namespaceSelector selects namespaces by label. An empty selector selects
	// every namespace.
	//
	// +optional
	NamespaceSelector LabelSelector `json:"namespaceSelector,omitzero"`

	CapsetPolicySpec `json:",inline"`
}

// ConditionReady is the type of the condition that reports whether a policy is
// in effect.
const ConditionReady = "Ready"

// Reasons of ConditionReady.
const (
	ReasonApplied     = "Applied"     // the policy is in effect
	ReasonNoNamespace = "NoNamespace" // the policy is in effect but selects no namespace
	ReasonBroken      = "Broken"      // the policy is not in effect; the message names the field
)

// CapsetPolicyStatus is the state of a policy as capvet observed it.
type CapsetPolicyStatus struct {
	// observedGeneration is the generation of the spec that the status describes.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions has one entry of type Ready: whether the policy is in effect, and
	// otherwise the error in it.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ClusterCapsetPolicyStatus is the state of a ClusterCapsetPolicy as capvet
// observed it.
type ClusterCapsetPolicyStatus struct {
	// matchedNamespaces is the number of namespaces that namespaceSelector
	// selects.
	//
	// +optional
	MatchedNamespaces *int32 `json:"matchedNamespaces,omitempty"`

	CapsetPolicyStatus `json:",inline"`
}

// ClusterCapsetPolicy is the response to Pods whose images make legacy 32-bit
// capability calls, and to the workloads that create such Pods, in the namespaces
// that it selects. Each policy that matches is evaluated on its own, and the
// strictest action wins.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ccp,categories=capvet
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Workloads",type=string,JSONPath=`.spec.workloads`
// +kubebuilder:printcolumn:name="Architectures",type=string,JSONPath=`.spec.architectures`
// +kubebuilder:printcolumn:name="Namespaces",type=integer,JSONPath=`.status.matchedNamespaces`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Unknown",type=string,JSONPath=`.spec.onUnknown`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterCapsetPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the policy.
	//
	// +optional
	// +kubebuilder:default={}
	Spec ClusterCapsetPolicySpec `json:"spec,omitzero"`
	// status is the state of the policy as capvet observed it.
	//
	// +optional
	Status ClusterCapsetPolicyStatus `json:"status,omitzero"`
}

// ClusterCapsetPolicyList is a list of ClusterCapsetPolicy.
//
// +kubebuilder:object:root=true
type ClusterCapsetPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterCapsetPolicy `json:"items"`
}

// CapsetPolicy is the response to Pods whose images make legacy 32-bit capability
// calls, and to the workloads that create such Pods, in its own namespace. It can
// tighten the cluster's policies and cannot loosen them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=cp,categories=capvet
// +kubebuilder:printcolumn:name="Action",type=string,JSONPath=`.spec.action`
// +kubebuilder:printcolumn:name="Workloads",type=string,JSONPath=`.spec.workloads`
// +kubebuilder:printcolumn:name="Architectures",type=string,JSONPath=`.spec.architectures`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Unknown",type=string,JSONPath=`.spec.onUnknown`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type CapsetPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the policy.
	//
	// +optional
	// +kubebuilder:default={}
	Spec CapsetPolicySpec `json:"spec,omitzero"`
	// status is the state of the policy as capvet observed it.
	//
	// +optional
	Status CapsetPolicyStatus `json:"status,omitzero"`
}

// CapsetPolicyList is a list of CapsetPolicy.
//
// +kubebuilder:object:root=true
type CapsetPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CapsetPolicy `json:"items"`
}
