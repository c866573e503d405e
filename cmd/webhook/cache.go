package main

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/policyspec"
)

// cacheOptions reduce the cache to the fields and objects in use: a cluster has
// thousands of nodes and namespaces, and a single webhook configuration is
// capvet's.
func (o options) cacheOptions() cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&admissionregistrationv1.ValidatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector("metadata.name",
				o.certificates.Configuration)},
			&corev1.Node{}: {Transform: func(object any) (any, error) {
				if node, ok := object.(*corev1.Node); ok {
					return placement.Strip(node), nil
				}
				return object, nil
			}},
			&v1alpha1.ClusterCapsetPolicy{}: {Transform: func(object any) (any, error) {
				if p, ok := object.(*v1alpha1.ClusterCapsetPolicy); ok {
					policyspec.StripCluster(p)
				}
				return object, nil
			}},
			&v1alpha1.CapsetPolicy{}: {Transform: func(object any) (any, error) {
				if p, ok := object.(*v1alpha1.CapsetPolicy); ok {
					policyspec.StripNamespaced(p)
				}
				return object, nil
			}},
			// Read on every request, and never modified.
			&corev1.Namespace{}: {UnsafeDisableDeepCopy: new(true), Transform: func(object any) (any, error) {
				if namespace, ok := object.(*corev1.Namespace); ok {
					namespace.Annotations, namespace.ManagedFields = nil, nil
				}
				return object, nil
			}},
		},
	}
}
