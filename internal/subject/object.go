package subject

import (
	"fmt"

	"github.com/go-json-experiment/json" // encoding/json/v2 of Go 1.27
	"github.com/go-json-experiment/json/jsontext"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// object holds the decoded fields of an object of any kind. Decoding is most of the cost of a
// review with known images, so the other fields of a Pod, such as environments, probes and
// managed fields, are skipped. A workload's template is decoded as a whole, since any change to
// it makes new Pods.
type object struct {
	Metadata Metadata `json:"metadata"`
	Spec     struct {
		pod
		Template    *corev1.PodTemplateSpec  `json:"template"`
		JobTemplate *batchv1.JobTemplateSpec `json:"jobTemplate"`
	} `json:"spec"`
}

// Metadata holds the decoded fields of an object's metadata.
type Metadata struct {
	Name              string                  `json:"name"`
	Labels            map[string]string       `json:"labels"`
	Annotations       map[string]string       `json:"annotations"`
	DeletionTimestamp *metav1.Time            `json:"deletionTimestamp"`
	OwnerReferences   []metav1.OwnerReference `json:"ownerReferences"`
}

// pod is the spec of a Pod.
type pod struct {
	NodeName            string                        `json:"nodeName"`
	NodeSelector        map[string]string             `json:"nodeSelector"`
	Affinity            *corev1.Affinity              `json:"affinity"`
	Tolerations         []corev1.Toleration           `json:"tolerations"`
	OS                  *corev1.PodOS                 `json:"os"`
	ServiceAccountName  string                        `json:"serviceAccountName"`
	ImagePullSecrets    []corev1.LocalObjectReference `json:"imagePullSecrets"`
	SecurityContext     *identity                     `json:"securityContext"`
	Volumes             []volume                      `json:"volumes"`
	InitContainers      []container                   `json:"initContainers"`
	Containers          []container                   `json:"containers"`
	EphemeralContainers []container                   `json:"ephemeralContainers"`
}

// identity is the part of a securityContext about the user.
type identity struct {
	RunAsUser    *int64 `json:"runAsUser"`
	RunAsNonRoot *bool  `json:"runAsNonRoot"`
}

type volume struct {
	Name      string                        `json:"name"`
	ConfigMap *corev1.ConfigMapVolumeSource `json:"configMap"`
}

type container struct {
	Name            string               `json:"name"`
	Image           string               `json:"image"`
	Command         []string             `json:"command"`
	Args            []string             `json:"args"`
	VolumeMounts    []corev1.VolumeMount `json:"volumeMounts"`
	SecurityContext *identity            `json:"securityContext"`
}

// Decode reads an object of one of the kinds from JSON.
func Decode(kindName string, encoded []byte) (*Subject, error) {
	var o object
	if err := json.Unmarshal(encoded, &o, jsontext.AllowDuplicateNames(true)); err != nil {
		return nil, fmt.Errorf("decoding the %s: %w", kindName, err)
	}
	s := &Subject{Kind: kindName, Object: metav1.ObjectMeta{
		Name: o.Metadata.Name, Labels: o.Metadata.Labels, Annotations: o.Metadata.Annotations,
		DeletionTimestamp: o.Metadata.DeletionTimestamp, OwnerReferences: o.Metadata.OwnerReferences,
	}}
	switch {
	case kindName == KindPod:
		s.Template = corev1.PodTemplateSpec{ObjectMeta: s.Object, Spec: o.Spec.podSpec()}
	case kindName == "CronJob" && o.Spec.JobTemplate != nil:
		s.Template = o.Spec.JobTemplate.Spec.Template
	case kindName != "CronJob" && o.Spec.Template != nil:
		s.Template = *o.Spec.Template
	}
	return s, nil
}

// DecodeMetadata reads the metadata of any object from JSON.
func DecodeMetadata(encoded []byte) (Metadata, error) {
	var o struct {
		Metadata Metadata `json:"metadata"`
	}
	if err := json.Unmarshal(encoded, &o, jsontext.AllowDuplicateNames(true)); err != nil {
		return Metadata{}, fmt.Errorf("decoding metadata: %w", err)
	}
	return o.Metadata, nil
}

// podSpec returns the spec in the API's own type.
func (p *pod) podSpec() corev1.PodSpec {
	spec := corev1.PodSpec{
		NodeName: p.NodeName, NodeSelector: p.NodeSelector, Affinity: p.Affinity, Tolerations: p.Tolerations,
		OS: p.OS, ServiceAccountName: p.ServiceAccountName, ImagePullSecrets: p.ImagePullSecrets,
		InitContainers: containersOf(p.InitContainers), Containers: containersOf(p.Containers),
	}
	if own := p.SecurityContext; own != nil {
		spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: own.RunAsUser, RunAsNonRoot: own.RunAsNonRoot}
	}
	for _, v := range p.Volumes {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: v.Name, VolumeSource: corev1.VolumeSource{ConfigMap: v.ConfigMap}})
	}
	for _, c := range containersOf(p.EphemeralContainers) {
		// The same fields by definition of the API.
		spec.EphemeralContainers = append(spec.EphemeralContainers,
			corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)})
	}
	return spec
}

func containersOf(read []container) []corev1.Container {
	var containers []corev1.Container
	for _, c := range read {
		converted := corev1.Container{Name: c.Name, Image: c.Image, Command: c.Command, Args: c.Args, VolumeMounts: c.VolumeMounts}
		if own := c.SecurityContext; own != nil {
			converted.SecurityContext = &corev1.SecurityContext{RunAsUser: own.RunAsUser, RunAsNonRoot: own.RunAsNonRoot}
		}
		containers = append(containers, converted)
	}
	return containers
}
