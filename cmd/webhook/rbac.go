package main

// What the webhook may do in a cluster; config/rbac/role.yaml is generated from
// this. Secrets and ServiceAccounts are read one at a time, by name, when a Pod
// refers to them: never listed, never watched. A namespace is read by name when
// it is so new that the watch has not told of it. Lists are for API servers that
// do not stream them.
//
// +kubebuilder:rbac:groups=capvet.dev,resources=capsetpolicies;clustercapsetpolicies,verbs=list;watch
// +kubebuilder:rbac:groups=capvet.dev,resources=capsetpolicies/status;clustercapsetpolicies/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts;secrets,verbs=get
//
// Its own certificate: the one Secret that holds it, which the above lets it
// read, and the one webhook configuration that trusts it.
//
// +kubebuilder:rbac:groups="",namespace=capvet-system,resources=secrets,resourceNames=capvet-tls,verbs=update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=capvet,verbs=get;list;watch;patch
