package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "capvet.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package in s.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&ClusterCapsetPolicy{}, &ClusterCapsetPolicyList{},
		&CapsetPolicy{}, &CapsetPolicyList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
