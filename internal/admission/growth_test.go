package admission

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/reviewserver"
)

// largePods are Pods of about size bytes, each with many of one kind of element. The image of
// their containers has many binaries.
func largePods(size int) map[string]*corev1.Pod {
	pods := map[string]*corev1.Pod{}
	// repeat returns as many elements as have that size, from the size of one.
	repeat := func(one int, element func(i int)) {
		for i := range size / one {
			element(i)
		}
	}
	add := func(name string, fill func(p *corev1.Pod, first *corev1.Container)) {
		p := pod("legacy")
		fill(p, &p.Spec.Containers[0])
		pods[name] = p
	}
	letters := strings.Split(strings.Repeat("a", size/8), "")
	add("words", func(p *corev1.Pod, first *corev1.Container) {
		first.Command = letters
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "other", Image: "legacy", Args: letters})
	})
	add("a script", func(_ *corev1.Pod, first *corev1.Container) { first.Args = []string{strings.Repeat("a;", size/2)} })
	add("files", func(_ *corev1.Pod, first *corev1.Container) {
		first.Command = []string{"haproxy", "--"}
		repeat(20, func(i int) {
			first.Command = append(first.Command, fmt.Sprint("/etc/", i))
			if i%2 == 0 {
				first.VolumeMounts = append(first.VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: fmt.Sprint("/etc/", i)})
			}
		})
	})
	add("containers", func(p *corev1.Pod, first *corev1.Container) {
		first.Command, first.VolumeMounts = []string{"haproxy", "-f", "/etc/a"}, []corev1.VolumeMount{{Name: "v", MountPath: "/etc"}}
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}}}
		repeat(200, func(i int) {
			c := *first
			c.Name = fmt.Sprint("more", i)
			p.Spec.Containers = append(p.Spec.Containers, c)
		})
	})
	add("ways to run", func(p *corev1.Pod, _ *corev1.Container) {
		repeat(100, func(i int) {
			c := corev1.Container{Name: fmt.Sprint("init", i), Image: "legacy", Args: []string{fmt.Sprint(i)}}
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		})
	})
	add("terms", func(p *corev1.Pod, _ *corev1.Container) {
		selector := &corev1.NodeSelector{}
		term := func(r corev1.NodeSelectorRequirement) {
			selector.NodeSelectorTerms = append(selector.NodeSelectorTerms,
				corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{r}})
		}
		repeat(80, func(i int) {
			term(corev1.NodeSelectorRequirement{Key: "zone", Operator: corev1.NodeSelectorOpNotIn, Values: []string{"a", fmt.Sprint(i)}})
		})
		term(corev1.NodeSelectorRequirement{Key: "zone", Operator: corev1.NodeSelectorOpExists})
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: selector}}
	})
	add("tolerations", func(p *corev1.Pod, _ *corev1.Container) {
		repeat(40, func(i int) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: fmt.Sprint("k", i), Operator: corev1.TolerationOpExists})
		})
	})
	add("labels", func(p *corev1.Pod, _ *corev1.Container) {
		p.Labels, p.Annotations = map[string]string{}, map[string]string{}
		repeat(20, func(i int) { p.Labels[fmt.Sprint("l", i)], p.Annotations[fmt.Sprint("a", i)] = "", "" })
	})
	add("owners and secrets", func(p *corev1.Pod, _ *corev1.Container) {
		repeat(100, func(i int) {
			p.OwnerReferences = append(p.OwnerReferences, metav1.OwnerReference{Name: fmt.Sprint("o", i)})
			p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: fmt.Sprint("s", i)})
		})
	})
	add("a long reference", func(_ *corev1.Pod, first *corev1.Container) { first.Image = "legacy/" + strings.Repeat("a", size) })
	return pods
}

// manyBinaries is the report about an image with n binaries of one product.
func manyBinaries(n int) report.Report {
	r := legacyReport()
	r.Configuration = &report.Configuration{User: "99", Entrypoint: []string{"haproxy"}}
	for i := range n {
		b := haproxy30()
		b.Path = fmt.Sprint("/usr/bin/b", i)
		r.Binaries = append(r.Binaries, b)
	}
	return r
}

// anyFile reads every file of a ConfigMap.
type anyFile struct{}

func (anyFile) Settings(context.Context, string, string, string) (report.Settings, bool) {
	return product.Settings([]byte("global\n"))
}

// TestGrowth: the work for a review grows as the review does, whatever it has many of, at its
// creation and at an update. It is counted in bytes allocated: twice the size may take twice the
// work, and a little more.
func TestGrowth(t *testing.T) {
	nodes := placement.NewNodes()
	for i := range 500 {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i)}}
		n.Labels = map[string]string{"kubernetes.io/arch": "arm64", "zone": "a"}
		if i%2 == 0 {
			n.Spec.Taints = []corev1.Taint{{Key: "t", Effect: corev1.TaintEffectNoSchedule}}
		}
		nodes.Set(n)
	}
	large := manyBinaries(50)
	h := &Handler{
		Files: anyFile{}, Nodes: nodes, Observer: &observer{}, Now: time.Now,
		Policies: source{policies: []policy.Policy{
			clusterPolicy(t, v1alpha1.CapsetPolicySpec{Trigger: v1alpha1.TriggerStart}), clusterPolicy(t, v1alpha1.CapsetPolicySpec{}),
		}},
		Images: &reader{answers: map[string]func(context.Context) (report.Report, error){
			"legacy": func(context.Context) (report.Report, error) { return large, nil }}},
	}
	work := func(p *corev1.Pod, old *corev1.Pod) uint64 {
		r := reviewserver.Request{Operation: admissionv1.Create, Object: encoded(t, p)}
		r.Resource.Resource = "pods"
		if old != nil {
			r.Operation, r.OldObject = admissionv1.Update, encoded(t, old)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		response := h.Handle(t.Context(), r)
		runtime.ReadMemStats(&after)
		if response.AuditAnnotations[annotationFindings] == "" {
			t.Errorf("not judged: %+v", response)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	const size = 128 << 10
	once, twice := largePods(size), largePods(2*size)
	for name := range once {
		old := func(p *corev1.Pod) *corev1.Pod {
			p = p.DeepCopy()
			for i := range p.Spec.Containers {
				p.Spec.Containers[i].Image = "old"
			}
			return p
		}
		for operation, grown := range map[string][2]uint64{
			"created": {work(once[name], nil), work(twice[name], nil)},
			"updated": {work(once[name], old(once[name])), work(twice[name], old(twice[name]))},
		} {
			t.Logf("%s, %s: %d KiB, then %d", name, operation, grown[0]>>10, grown[1]>>10)
			if grown[1] > 3*grown[0]+1<<20 {
				t.Errorf("%s, %s: %d bytes, then %d", name, operation, grown[0], grown[1])
			}
		}
	}
}
