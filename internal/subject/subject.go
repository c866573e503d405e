// Package subject reads the objects that capvet judges: a Pod, or a workload
// by the template that its Pods are made from.
//
// It is not for judging, and it asks nobody: what it returns stands in the
// object. The object is one that an API server validated or a file that a
// person gave; of a file, whatever is missing stays empty.
package subject

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/internal/policy"
)

// KindPod is the kind of a Pod; all other kinds are workloads.
const KindPod = "Pod"

// kind is one kind of object that can be judged.
type kind struct{ group, resource, kind string }

// kinds returns all of them, Pods first.
func kinds() []kind {
	return []kind{
		{"", "pods", KindPod},
		{"", "replicationcontrollers", "ReplicationController"},
		{"apps", "deployments", "Deployment"},
		{"apps", "replicasets", "ReplicaSet"},
		{"apps", "statefulsets", "StatefulSet"},
		{"apps", "daemonsets", "DaemonSet"},
		{"batch", "jobs", "Job"},
		{"batch", "cronjobs", "CronJob"},
	}
}

// KindOfResource returns the kind of a resource (in the plural, lower case),
// false if its objects are never judged.
func KindOfResource(group, resource string) (string, bool) {
	for _, k := range kinds() {
		if k.group == group && k.resource == resource {
			return k.kind, true
		}
	}
	return "", false
}

// Judged reports whether objects of a kind are judged.
func Judged(group, kindName string) bool {
	return slices.ContainsFunc(kinds(), func(k kind) bool { return k.group == group && k.kind == kindName })
}

// TemplatePath returns the fields under which the Pod's spec and metadata lie in
// an object of a kind.
func TemplatePath(kindName string) []string {
	switch kindName {
	case KindPod:
		return nil
	case "CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}
	}
	return []string{"spec", "template"}
}

// Subject is a Pod or a workload.
type Subject struct {
	Kind string
	// Object is the metadata of the object itself, as far as Object has it.
	Object metav1.ObjectMeta
	// Template is what a workload's Pods are made from; of a Pod, the Pod, with no
	// more than the fields of the type pod.
	Template corev1.PodTemplateSpec
}

// Workload reports whether s is a template that Pods are made from, rather than
// a Pod.
func (s *Subject) Workload() bool { return s.Kind != KindPod }

// LeftAlone reports whether s is never judged: what is being deleted (its
// finalizers must be able to go), a mirror Pod (its static Pod runs whatever is
// said here), what runs on Windows (no Linux kernel sees it), and a workload
// that another controls (nobody reads what is said to a controller).
func (s *Subject) LeftAlone() bool {
	if s.Object.DeletionTimestamp != nil {
		return true
	}
	if _, mirror := s.Object.Annotations[corev1.MirrorPodAnnotationKey]; mirror && !s.Workload() {
		return true
	}
	if s.Workload() && metav1.GetControllerOfNoCopy(&s.Object) != nil {
		return true
	}
	return onWindows(&s.Template.Spec)
}

// onWindows reports whether a Pod says that it is for Windows: in its own field, or
// as most do, by the label of the nodes that it selects, which holds it away from
// all others.
func onWindows(spec *corev1.PodSpec) bool {
	if spec.OS != nil {
		return spec.OS.Name == corev1.Windows
	}
	for _, label := range []string{corev1.LabelOSStable, "beta.kubernetes.io/os"} {
		if spec.NodeSelector[label] == string(corev1.Windows) {
			return true
		}
	}
	return false
}

// Changed returns the images that s brings in place of old: of a Pod those of
// containers whose image differs, of a workload all if the template differs,
// since new Pods will be made from it.
func (s *Subject) Changed(old *Subject) []policy.Image {
	if s.Workload() {
		if equality.Semantic.DeepEqual(s.Template, old.Template) {
			return nil
		}
		return s.Images()
	}
	before := map[string]string{}
	for container := range old.containers() {
		before[container.Name] = container.Image
	}
	return s.imagesWhere(func(container, image string) bool { return before[container] != image })
}

// Images returns all images of s, each once for each way that containers run
// it. Architecture, Report and Failure are unset.
func (s *Subject) Images() []policy.Image {
	return s.imagesWhere(func(string, string) bool { return true })
}

func (s *Subject) imagesWhere(wanted func(container, image string) bool) []policy.Image {
	var images []policy.Image
	known := map[string]int{} // by all that may differ: a Pod may have thousands of containers
	for container := range s.containers() {
		if container.Image == "" || !wanted(container.Name, container.Image) {
			continue
		}
		run := s.run(container)
		var key []byte
		for _, words := range [][]string{{container.Image, string(run.User)}, run.Command, run.Args, run.Mounts} {
			for _, word := range words {
				key = strconv.AppendQuote(key, word)
			}
			key = append(key, ',')
		}
		if i, ok := known[string(key)]; ok {
			images[i].Containers = append(images[i].Containers, container.Name)
			continue
		}
		known[string(key)] = len(images)
		images = append(images, policy.Image{Containers: []string{container.Name}, Reference: container.Image, Name: FullName(container.Image), Run: run})
	}
	return images
}

// run tells how a container runs its image: its own securityContext goes before
// the Pod's, field by field.
func (s *Subject) run(container *corev1.Container) policy.Run {
	var run policy.Run
	if len(container.Command) > 0 {
		run.Command = slices.Concat(container.Command, container.Args)
	} else {
		run.Args = container.Args
	}
	for _, volume := range container.VolumeMounts {
		run.Mounts = append(run.Mounts, volume.MountPath)
	}
	slices.Sort(run.Mounts)
	var user *int64
	var nonRoot *bool
	if pod := s.Template.Spec.SecurityContext; pod != nil {
		user, nonRoot = pod.RunAsUser, pod.RunAsNonRoot
	}
	if own := container.SecurityContext; own != nil {
		if own.RunAsUser != nil {
			user = own.RunAsUser
		}
		if own.RunAsNonRoot != nil {
			nonRoot = own.RunAsNonRoot
		}
	}
	switch {
	case user != nil && *user == 0:
		run.User = policy.UserRoot
	case user != nil, nonRoot != nil && *nonRoot: // a kubelet starts nothing as root then
		run.User = policy.UserNonRoot
	}
	return run
}

// ConfigMapFile returns the ConfigMap and the key of it that a container sees as
// the file of a clean, absolute path; false if no volume of a ConfigMap's alone
// shows one there.
func (s *Subject) ConfigMapFile(container, file string) (name, key string, ok bool) {
	var mount *corev1.VolumeMount // the one that lies closest over the file
	for c := range s.containers() {
		if c.Name != container {
			continue
		}
		for i := range c.VolumeMounts {
			m := &c.VolumeMounts[i]
			at := path.Clean("/" + m.MountPath)
			if over := at == file || strings.HasPrefix(file, strings.TrimSuffix(at, "/")+"/"); over && (mount == nil || len(at) > len(path.Clean("/"+mount.MountPath))) {
				mount = m
			}
		}
	}
	if mount == nil || mount.SubPathExpr != "" {
		return "", "", false
	}
	i := slices.IndexFunc(s.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
	if i < 0 || s.Template.Spec.Volumes[i].ConfigMap == nil {
		return "", "", false
	}
	volume := s.Template.Spec.Volumes[i].ConfigMap
	within := path.Join(mount.SubPath, strings.TrimPrefix(file, path.Clean("/"+mount.MountPath)))
	within = strings.TrimPrefix(within, "/")
	if len(volume.Items) == 0 {
		return volume.Name, within, within != "" && !strings.Contains(within, "/")
	}
	for _, item := range volume.Items {
		if path.Clean(item.Path) == within {
			return volume.Name, item.Key, true
		}
	}
	return "", "", false
}

// ServiceAccount returns the name of the ServiceAccount that s's Pods run as. A
// template that names none gets the namespace's default.
func (s *Subject) ServiceAccount() string {
	if s.Template.Spec.ServiceAccountName == "" && s.Workload() {
		return "default"
	}
	return s.Template.Spec.ServiceAccountName
}

// PullSecrets returns the names of the pull secrets that s itself lists.
func (s *Subject) PullSecrets() []string {
	var names []string
	for _, secret := range s.Template.Spec.ImagePullSecrets {
		names = append(names, secret.Name)
	}
	return names
}

// containers yields each container: regular ones first, as a person would look
// for them. Names are unique in a Pod.
func (s *Subject) containers() func(yield func(*corev1.Container) bool) {
	spec := &s.Template.Spec
	return func(yield func(*corev1.Container) bool) {
		for _, list := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
		for i := range spec.EphemeralContainers {
			// The same fields by definition of the API.
			container := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
			if !yield(&container) {
				return
			}
		}
	}
}

// FullName fills in an image reference's default registry, repository prefix
// and tag: haproxy becomes docker.io/library/haproxy:latest. A reference that
// cannot be parsed stays as it is; reading it will say what is wrong.
func FullName(reference string) string {
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
