// Package subject reads the objects that capvet judges: Pods, and workloads by the template of
// their Pods.
//
// It is not for judging, and reads nothing but the object: one that an API server validated, or
// one from a file, in which missing fields stay empty.
package subject

import (
	"cmp"
	"hash/maphash"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/policy"
)

// KindPod is the kind of a Pod; all other kinds are workloads.
const KindPod = "Pod"

// kind is one kind of object that is judged.
type kind struct{ group, resource, kind string }

// kinds returns all kinds, Pods first.
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

// KindOfResource returns the kind of a resource (lower-case plural), false if its objects are
// never judged.
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

// TemplatePath returns the path of fields to the Pod's spec and metadata in an object of a kind.
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
	// Object is the metadata of the object itself, with the fields of Metadata alone.
	Object metav1.ObjectMeta
	// Template is the template of a workload's Pods, or the Pod itself with the fields of the
	// type pod alone.
	Template corev1.PodTemplateSpec
}

// Workload reports whether s is a template of Pods rather than a Pod.
func (s *Subject) Workload() bool { return s.Kind != KindPod }

// LeftAlone reports whether s is never judged: during its deletion (finalizers must go), as a
// mirror Pod (its static Pod runs regardless), on Windows (no Linux kernel is involved), and as
// a workload with a controller (which reads no warnings).
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

// onWindows reports whether a Pod is for Windows: by its os field, or, as most are, by the node
// label that it selects.
func onWindows(spec *corev1.PodSpec) bool {
	if spec.OS != nil {
		return spec.OS.Name == corev1.Windows
	}
	const windows = string(corev1.Windows)
	return spec.NodeSelector[corev1.LabelOSStable] == windows || spec.NodeSelector["beta.kubernetes.io/os"] == windows
}

// Changed returns the images that s adds to old: for a Pod those of containers with another
// image, for a workload all if the template differs, since new Pods will be made from it.
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

// Images returns all images of s, each once for each way that containers run it. Architecture,
// Report and Failure are unset.
func (s *Subject) Images() []policy.Image {
	return s.imagesWhere(func(string, string) bool { return true })
}

func (s *Subject) imagesWhere(wanted func(container, image string) bool) []policy.Image {
	var images []policy.Image
	known := map[uint64]int{} // by hash of image and run: a Pod may have thousands of containers
	seed := maphash.MakeSeed()
	for container := range s.containers() {
		if container.Image == "" || !wanted(container.Name, container.Image) {
			continue
		}
		run := s.run(container)
		key := hashOf(seed, container.Image, run)
		if i, ok := known[key]; ok && images[i].Reference == container.Image && same(images[i].Run, run) {
			images[i].Containers = append(images[i].Containers, container.Name)
			continue
		}
		known[key] = len(images)
		images = append(images, policy.Image{
			Containers: []string{container.Name}, Reference: container.Image, Name: FullName(container.Image), Run: run})
	}
	return images
}

// hashOf returns a hash of an image and of the way to run it. Its cost grows with their size
// alone, as that of a text of quoted words does not: strconv.AppendQuote copies the text each
// time that it is full.
func hashOf(seed maphash.Seed, image string, run policy.Run) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, words := range [][]string{{image, string(run.User)}, run.Command, run.Args, run.Mounts} {
		for _, word := range words {
			_, _ = h.WriteString(word) // never fails
			_ = h.WriteByte(0)
		}
		_ = h.WriteByte(1)
	}
	return h.Sum64()
}

// same reports whether two containers run an image alike.
func same(a, b policy.Run) bool {
	return a.User == b.User && slices.Equal(a.Command, b.Command) && slices.Equal(a.Args, b.Args) && slices.Equal(a.Mounts, b.Mounts)
}

// run describes how a container runs its image. Its own securityContext takes precedence over
// the Pod's, field by field.
func (s *Subject) run(container *corev1.Container) policy.Run {
	var run policy.Run
	if len(container.Command) > 0 {
		run.Command = slices.Concat(container.Command, container.Args)
	} else {
		run.Args = container.Args
	}
	for _, volume := range container.VolumeMounts {
		run.Mounts = append(run.Mounts, path.Clean("/"+volume.MountPath))
	}
	slices.Sort(run.Mounts)
	var user *int64
	var nonRoot *bool
	if pod := s.Template.Spec.SecurityContext; pod != nil {
		user, nonRoot = pod.RunAsUser, pod.RunAsNonRoot
	}
	if own := container.SecurityContext; own != nil {
		user, nonRoot = cmp.Or(own.RunAsUser, user), cmp.Or(own.RunAsNonRoot, nonRoot)
	}
	switch {
	case user != nil && *user == 0:
		run.User = policy.UserRoot
	case user != nil, nonRoot != nil && *nonRoot: // a kubelet refuses to start it as root
		run.User = policy.UserNonRoot
	}
	return run
}

// ServiceAccount returns the name of the ServiceAccount of s's Pods. A template without one gets
// the namespace's default.
func (s *Subject) ServiceAccount() string {
	if s.Template.Spec.ServiceAccountName == "" && s.Workload() {
		return "default"
	}
	return s.Template.Spec.ServiceAccountName
}

// ToJudge returns the values that a decision about images of s depends on. architectures chooses
// among candidates for a Pod with the given spec.
func (s *Subject) ToJudge(images []policy.Image, architectures func(spec *corev1.PodSpec, candidates []string) []string) judge.Subject {
	return judge.Subject{
		Workload:      s.Workload(),
		Images:        images,
		Architectures: func(candidates []string) []string { return architectures(&s.Template.Spec, candidates) },
		ConfigMapFile: s.configMapFiles(),
	}
}

// PullSecrets returns the names of the pull secrets that s itself lists.
func (s *Subject) PullSecrets() []string {
	var names []string
	for _, secret := range s.Template.Spec.ImagePullSecrets {
		names = append(names, secret.Name)
	}
	return names
}

// containers yields each container, regular ones first. Names are unique in a Pod.
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

// FullName fills in an image reference's default registry, repository prefix and tag: haproxy
// becomes docker.io/library/haproxy:latest. An invalid reference stays as it is, and fails when
// it is read.
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
