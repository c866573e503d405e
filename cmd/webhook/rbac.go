package main

// What the webhook may do in a cluster; config/rbac/role.yaml is generated from
// this. Secrets and ServiceAccounts are read one at a time, by name, when a Pod
// refers to them: never listed, never watched.
//
// +kubebuilder:rbac:groups=capvet.dev,resources=capsetpolicies;clustercapsetpolicies,verbs=get;list;watch
// +kubebuilder:rbac:groups=capvet.dev,resources=capsetpolicies/status;clustercapsetpolicies/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces;nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts;secrets,verbs=get
//
// Its own certificate: the one Secret that holds it, and the one webhook
// configuration that trusts it.
//
// +kubebuilder:rbac:groups="",namespace=capvet-system,resources=secrets,resourceNames=capvet-tls,verbs=get;update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=capvet,verbs=list;watch;patch
