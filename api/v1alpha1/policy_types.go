package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Architecture is the architecture of a node, in Go's GOARCH names, as in the
// node label kubernetes.io/arch.
//
// +kubebuilder:validation:Enum=amd64;arm;arm64;ppc64le;riscv64;s390x
type Architecture string

// Architectures returns all that a policy can name, sorted.
func Architectures() []Architecture {
	return []Architecture{"amd64", "arm", "arm64", "ppc64le", "riscv64", "s390x"}
}

// CapsetPolicySpec says what happens to Pods whose images make legacy
// capability calls.
type CapsetPolicySpec struct {
	// podSelector limits the policy to Pods with these labels. Empty: all Pods.
	//
	// +optional
	PodSelector LabelSelector `json:"podSelector,omitzero"`

	// architectures are the node architectures that the policy is about. A Pod
	// is judged for those of them that some node has on which it can land, by
	// its nodeName, nodeSelector, required node affinity and tolerations, each
	// by the image's own manifest for it. The kernel logs legacy calls on every
	// architecture; arm64 is where it is reported.
	//
	// +optional
	// +kubebuilder:default={arm64}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=6
	// +listType=set
	Architectures []Architecture `json:"architectures,omitempty"`

	// images says which images are read. Hinted: those that show a sign of a known
	// product (haproxy, nginx and what derives from it) in the reference's
	// repository or tag, in the image's configuration (ENTRYPOINT, CMD, ENV,
	// labels, history) or in the container's command; of all others only the
	// manifest and the configuration are read, and the decision says so. All:
	// every image, which alone proves that there is nothing. Where several
	// policies match, an image is read if one of them wants it, and each judges
	// what was found.
	//
	// +optional
	// +kubebuilder:default=Hinted
	Images ImageSelection `json:"images,omitempty"`

	// binaries says which executables of those images the policy is about.
	// Proxies: known products, files that are named like one, and what the image
	// itself runs. All: every ELF executable, which takes reading an image longer
	// and finds what else makes capability calls. Libraries are looked at for the
	// programs that use them alone.
	//
	// +optional
	// +kubebuilder:default=Proxies
	Binaries BinarySelection `json:"binaries,omitempty"`

	// action is what happens to a Pod with a binary that uses the legacy
	// capability ABI (v1, or the deprecated v2).
	//
	// +optional
	// +kubebuilder:default=Warn
	Action Action `json:"action,omitempty"`

	// trigger says which legacy calls the policy is about. Any: all that a binary
	// has in its code. Start: only those that this Pod will run when it starts,
	// by its securityContext and command; calls that only some configuration
	// leads to are left alone, and where it cannot be told, onUnknown decides.
	//
	// +optional
	// +kubebuilder:default=Any
	Trigger Trigger `json:"trigger,omitempty"`

	// workloads is what happens to a Deployment, ReplicaSet, StatefulSet,
	// DaemonSet, Job, CronJob or ReplicationController whose Pods this policy
	// would reject. Warnings on Pods reach nobody when a controller creates
	// them; those on the workload reach whoever wrote it. A workload whose Pods
	// would be warned of is warned of as well, whatever stands here, and a
	// change that leaves its template as it is is never looked at.
	//
	// +optional
	// +kubebuilder:default=Warn
	Workloads WorkloadAction `json:"workloads,omitempty"`

	// onUnknown is what happens to a Pod with a binary that may make capability
	// calls whose version could not be read.
	//
	// +optional
	// +kubebuilder:default=Warn
	OnUnknown Action `json:"onUnknown,omitempty"`

	// onScanError is what happens to a Pod with an image that could not be read.
	//
	// +optional
	// +kubebuilder:default={default:Warn}
	OnScanError ScanErrorActions `json:"onScanError,omitzero"`

	// exemptions are images that this policy does not look at. They are decided
	// before any registry is asked.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	Exemptions []Exemption `json:"exemptions,omitempty"`
}

// ScanErrorActions says what happens to a Pod with an image that could not be
// read, by class of error. A class that is not given has the default's action.
type ScanErrorActions struct {
	// default holds for every class without an action of its own, and for
	// errors inside capvet.
	//
	// +optional
	// +kubebuilder:default=Warn
	Default Action `json:"default,omitempty"`
	// timeout: the time allowed ran out. The reading goes on in the background,
	// so a second attempt often finds it done.
	//
	// +optional
	Timeout Action `json:"timeout,omitempty"`
	// unauthorized: the registry accepted none of the Pod's credentials.
	//
	// +optional
	Unauthorized Action `json:"unauthorized,omitempty"`
	// notFound: the registry has no such image.
	//
	// +optional
	NotFound Action `json:"notFound,omitempty"`
	// rateLimited: the registry asked to come back later.
	//
	// +optional
	RateLimited Action `json:"rateLimited,omitempty"`
	// tooLarge: the image met one of capvet's limits of size or count.
	//
	// +optional
	TooLarge Action `json:"tooLarge,omitempty"`
	// malformed: the image breaks its format, or does not have its digest.
	//
	// +optional
	Malformed Action `json:"malformed,omitempty"`
	// blocked: capvet refuses to connect to that registry's address.
	//
	// +optional
	Blocked Action `json:"blocked,omitempty"`
	// registry: anything else between capvet and the registry.
	//
	// +optional
	Registry Action `json:"registry,omitempty"`
}

// Exemption is a set of images that a policy does not look at.
type Exemption struct {
	// images are patterns of image references as Pods write them, after the
	// default registry is filled in. "*" stands for any characters but "/",
	// "**" for any characters: "registry.example.com/legacy/**" is every image
	// of that folder, "docker.io/library/haproxy:3.0*" one version's.
	// A name always has its registry and a tag or a digest, so that a pattern
	// without them, such as "haproxy", is refused: it would match nothing.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^[^\s,/]*([.:*][^\s,/]*/[^\s,]*[:@*]|[*][*])[^\s,]*$`
	// +kubebuilder:validation:items:XValidation:rule="self.contains('/') || self.contains('**')",message="no image has such a name: give it with registry and tag, as docker.io/library/haproxy:3.0*, or begin with **"
	// +listType=atomic
	Images []string `json:"images"`
	// reason says why, for whoever reads the policy or the audit log.
	//
	// +kubebuilder:validation:XValidation:rule="self.trim() != ''",message="say why"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`
	// expires is when the exemption ends, for example 2027-03-31T00:00:00Z: from
	// then on the images are looked at again. Empty: never.
	//
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// ClusterCapsetPolicySpec is a CapsetPolicySpec for the namespaces that it
// selects.
type ClusterCapsetPolicySpec struct {
	// namespaceSelector chooses namespaces by their labels. Empty: all.
	//
	// +optional
	NamespaceSelector LabelSelector `json:"namespaceSelector,omitzero"`

	CapsetPolicySpec `json:",inline"`
}

// ConditionReady says whether a policy is applied.
const ConditionReady = "Ready"

// Reasons of ConditionReady.
const (
	// ReasonApplied: the policy is applied.
	ReasonApplied = "Applied"
	// ReasonNoNamespace: the policy is applied, but no namespace matches it.
	ReasonNoNamespace = "NoNamespace"
	// ReasonBroken: the policy is not applied; the message names the field.
	ReasonBroken = "Broken"
)

// CapsetPolicyStatus is what capvet makes of a policy.
type CapsetPolicyStatus struct {
	// observedGeneration is the generation of the spec that this is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions hold one of type Ready: whether the policy is applied, and if
	// not, what is wrong with it.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ClusterCapsetPolicyStatus is what capvet makes of a cluster's policy.
type ClusterCapsetPolicyStatus struct {
	// matchedNamespaces is how many namespaces the policy's namespaceSelector
	// matches.
	//
	// +optional
	MatchedNamespaces *int32 `json:"matchedNamespaces,omitempty"`

	CapsetPolicyStatus `json:",inline"`
}

// ClusterCapsetPolicy says, for the namespaces that it selects, what happens to
// Pods whose images make legacy 32-bit capability calls, and to the workloads
// that make such Pods. Every policy that matches is evaluated on its own, and
// the strictest action wins.
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
	// status is what capvet makes of it.
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

// CapsetPolicy says, for its own namespace, what happens to Pods whose images
// make legacy 32-bit capability calls, and to the workloads that make such Pods.
// It tightens what the cluster's policies say and never loosens it.
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
	// status is what capvet makes of it.
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
