package main

// The webhook's permissions; config/rbac/role.yaml is generated from them. It gets
// Secrets and ServiceAccounts by name when a Pod refers to them, without a list or
// a watch. It gets a namespace that is too new for the watch. Lists serve API
// servers that do not stream them to a watch.
//
// +kubebuilder:rbac:groups=capvet.dev,resources=capsetpolicies;clustercapsetpolicies,verbs=list;watch
// +kubebuilder:rbac:groups=capvet.dev,resources=capsetpolicies/status;clustercapsetpolicies/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts;secrets,verbs=get
//
// For its own certificate: the Secret that holds it, which the rule above lets it
// read, and the webhook configuration that trusts it.
//
// +kubebuilder:rbac:groups="",namespace=capvet-system,resources=secrets,resourceNames=capvet-tls,verbs=update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=capvet,verbs=get;list;watch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=capvet,verbs=patch
