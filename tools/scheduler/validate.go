package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install" // the defaults and conversions of its kinds
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install" // the defaults and conversions of its kinds
	"k8s.io/kubernetes/pkg/apis/core/validation"
)

// validateNode checks a node as an API server does that is to create it.
func validateNode(node *corev1.Node) error {
	var internal core.Node
	legacyscheme.Scheme.Default(node)
	if err := legacyscheme.Scheme.Convert(node, &internal, nil); err != nil {
		return fmt.Errorf("node %s: %w", node.Name, err)
	}
	return validation.ValidateNode(&internal).ToAggregate()
}

// validatePod checks a Pod, and the DaemonSet with it as a template, as an API
// server does that is to create them. The Pod gets its defaults.
func validatePod(pod *corev1.Pod) error {
	var internal core.Pod
	legacyscheme.Scheme.Default(pod)
	if err := legacyscheme.Scheme.Convert(pod, &internal, nil); err != nil {
		return fmt.Errorf("Pod %s: %w", pod.Name, err)
	}
	options := podutil.GetValidationOptionsFromPodSpecAndMeta(&internal.Spec, nil, &internal.ObjectMeta, nil)
	options.ResourceIsPod = true
	errs := validation.ValidatePodCreate(&internal, options)

	var internalSet apps.DaemonSet
	set := daemonSetOf(pod)
	legacyscheme.Scheme.Default(set)
	if err := legacyscheme.Scheme.Convert(set, &internalSet, nil); err != nil {
		return fmt.Errorf("DaemonSet %s: %w", set.Name, err)
	}
	options = podutil.GetValidationOptionsFromPodTemplate(&internalSet.Spec.Template, nil)
	errs = append(errs, appsvalidation.ValidateDaemonSet(&internalSet, options)...)
	return errs.ToAggregate()
}
