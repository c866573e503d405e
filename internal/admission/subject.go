package admission

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/internal/policy"
)

// subject is the Pod of a request with the images that the request brings.
type subject struct {
	pod    *corev1.Pod
	puller Puller
	images []policy.Image // Architecture, Report and Failure unset
}

// subjectOf returns the Pod of a request and the images that the request
// brings: all of a new Pod's, and of an updated one's those that differ from
// before. It returns nil for a request that is never judged.
//
// The webhook's matchConditions leave most of those requests out already, but
// an error in evaluating those skips the webhook in silence, and whoever edits
// the configuration may drop them: so the same checks stand here.
func subjectOf(req admission.Request) (*subject, error) {
	if req.Resource.Group != "" || req.Resource.Resource != "pods" || (req.SubResource != "" && req.SubResource != "ephemeralcontainers") {
		return nil, nil
	}
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return nil, nil
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(req.Object.Raw, pod); err != nil {
		return nil, fmt.Errorf("decoding the Pod: %w", err)
	}
	if leftAlone(pod) {
		return nil, nil
	}
	before := map[string]string{}
	if req.Operation == admissionv1.Update {
		old := &corev1.Pod{}
		if err := json.Unmarshal(req.OldObject.Raw, old); err != nil {
			return nil, fmt.Errorf("decoding the Pod as it was: %w", err)
		}
		for container, image := range containerImages(old) {
			before[container] = image
		}
	}
	s := &subject{pod: pod, puller: Puller{Namespace: req.Namespace, ServiceAccount: pod.Spec.ServiceAccountName}}
	for _, secret := range pod.Spec.ImagePullSecrets {
		s.puller.ImagePullSecrets = append(s.puller.ImagePullSecrets, secret.Name)
	}
	for container, image := range containerImages(pod) {
		if image == "" || before[container] == image {
			continue
		}
		if i := slices.IndexFunc(s.images, func(known policy.Image) bool { return known.Reference == image }); i >= 0 {
			s.images[i].Containers = append(s.images[i].Containers, container)
			continue
		}
		s.images = append(s.images, policy.Image{Containers: []string{container}, Reference: image, Name: fullName(image)})
	}
	return s, nil
}

// leftAlone reports whether a Pod is never judged: one that is being deleted
// (its finalizers must be able to go), a mirror Pod (its static Pod runs
// whatever is said here) and a Windows Pod (no Linux kernel runs it).
func leftAlone(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return true
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return true
	}
	return pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows
}

// containerImages yields the name and image of each container of a Pod: regular
// ones first, as a person would look for them. Names are unique in a Pod.
func containerImages(pod *corev1.Pod) func(yield func(container, image string) bool) {
	return func(yield func(container, image string) bool) {
		for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range list {
				if !yield(list[i].Name, list[i].Image) {
					return
				}
			}
		}
		for i := range pod.Spec.EphemeralContainers {
			if !yield(pod.Spec.EphemeralContainers[i].Name, pod.Spec.EphemeralContainers[i].Image) {
				return
			}
		}
	}
}

// fullName fills in an image reference's default registry, repository prefix
// and tag: haproxy becomes docker.io/library/haproxy:latest. A reference that
// cannot be parsed stays as it is; reading it will say what is wrong.
func fullName(reference string) string {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return reference
	}
	full := ref.Name()
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest
	}
	return full
}
