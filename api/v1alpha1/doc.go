// Package v1alpha1 holds the policy kinds of the API group capvet.dev.
//
// A ClusterCapsetPolicy belongs to the cluster's administrator and selects
// namespaces by label. A CapsetPolicy belongs to the owner of a namespace and
// applies to that namespace. Each policy that matches a Pod is evaluated on its
// own, and the strictest action wins: a CapsetPolicy can tighten the cluster's
// policies and cannot loosen them.
//
// +kubebuilder:object:generate=true
// +groupName=capvet.dev
package v1alpha1
