// Package v1alpha1 holds the policy kinds of the API group capvet.dev.
//
// ClusterCapsetPolicy is written by the cluster's administrator and chooses
// namespaces by label; CapsetPolicy is written by the owner of a namespace and
// holds there. Every policy that matches a Pod is evaluated on its own and the
// strictest action wins, so a namespace's own policy tightens what the cluster
// set and never loosens it.
//
// +kubebuilder:object:generate=true
// +groupName=capvet.dev
package v1alpha1
