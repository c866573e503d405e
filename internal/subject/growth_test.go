package subject

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/internal/policy"
)

// allocated returns the bytes that a function allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// largePods are Pods with n of each kind of element that an author can repeat.
func largePods(n int) map[string]*Subject {
	pods := map[string]*Subject{}
	pod := func(name string, fill func(spec *corev1.PodSpec, meta *metav1.ObjectMeta)) {
		s := &Subject{Kind: KindPod}
		fill(&s.Template.Spec, &s.Template.ObjectMeta)
		pods[name] = s
	}
	pod("words", func(spec *corev1.PodSpec, _ *metav1.ObjectMeta) {
		words := strings.Split(strings.Repeat("a", n), "")
		spec.Containers = []corev1.Container{{Name: "a", Image: "x", Command: words}, {Name: "b", Image: "x", Args: words}}
	})
	pod("a long image", func(spec *corev1.PodSpec, _ *metav1.ObjectMeta) {
		spec.Containers = []corev1.Container{{Name: "a", Image: strings.Repeat("a/", n)}}
	})
	pod("containers", func(spec *corev1.PodSpec, _ *metav1.ObjectMeta) {
		for i := range n {
			spec.Containers = append(spec.Containers, corev1.Container{Name: fmt.Sprint(i), Image: "x"})
		}
	})
	pod("images", func(spec *corev1.PodSpec, _ *metav1.ObjectMeta) {
		for i := range n {
			spec.InitContainers = append(spec.InitContainers, corev1.Container{Name: fmt.Sprint(i), Image: fmt.Sprint("x", i)})
		}
	})
	pod("mounts", func(spec *corev1.PodSpec, _ *metav1.ObjectMeta) {
		c := corev1.Container{Name: "a", Image: "x"}
		for i := range n {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: fmt.Sprint(i), MountPath: fmt.Sprint("/", i)})
			spec.Volumes = append(spec.Volumes, corev1.Volume{Name: fmt.Sprint(i)})
		}
		spec.Containers = []corev1.Container{c}
	})
	return pods
}

// TestImagesGrowth: the work for an object grows as the object does. It is counted in bytes
// allocated; twice the size may take twice the work, and a little more.
func TestImagesGrowth(t *testing.T) {
	const n = 1 << 14
	small, large := largePods(n), largePods(2*n)
	for name := range small {
		measure := func(s *Subject) uint64 {
			return allocated(func() {
				old := &Subject{Kind: KindPod}
				_, _ = s.Images(), s.Changed(old)
			})
		}
		before, after := measure(small[name]), measure(large[name])
		if after > 3*before+1<<20 {
			t.Errorf("%s: %d bytes for %d of them, %d for %d", name, before, n, after, 2*n)
		}
	}
}

// TestImagesApart: words are told apart wherever one of them ends.
func TestImagesApart(t *testing.T) {
	var containers []corev1.Container
	for i, words := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"a\x00bc"}, {"a", "b", "c"}, {"abc"}} {
		containers = append(containers, corev1.Container{Name: fmt.Sprint(i), Image: "x", Command: words})
	}
	s := &Subject{Kind: KindPod, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: containers}}}
	if got := s.Images(); len(got) != 5 || len(got[2].Containers) != 2 {
		t.Errorf("%+v", got)
	}
	if same(policy.Run{Args: []string{"a"}}, policy.Run{Command: []string{"a"}}) {
		t.Error("arguments are no command")
	}
}

// TestConfigMapFilesOnce: the object is walked once, not for each file of each container.
func TestConfigMapFilesOnce(t *testing.T) {
	volume := corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}
	s := &Subject{Kind: KindPod, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &volume}}},
		Containers: []corev1.Container{
			{Name: "a", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/etc"}}},
			{Name: "b", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/b"}}},
		}}}}
	find := s.configMapFiles()
	for container, file := range map[string]string{"a": "/etc/x", "b": "/b/x"} {
		if name, key, ok := find(container, file); !ok || name != "cm" || key != "x" {
			t.Errorf("%s: %q %q %v", container, name, key, ok)
		}
		s.Template.Spec = corev1.PodSpec{} // as a second walk would see it
	}
}
