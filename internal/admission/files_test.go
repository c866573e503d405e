package admission

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
)

// files is a FileSource with answers by namespace/ConfigMap/key.
type files struct {
	known map[string]report.Settings
	asked []string
}

func (f *files) Settings(_ context.Context, namespace, configMap, key string) (report.Settings, bool) {
	at := namespace + "/" + configMap + "/" + key
	f.asked = append(f.asked, at)
	s, ok := f.known[at]
	return s, ok
}

// TestFiles: a mounted configuration decides, for policies that ask when calls
// run, and is read once for all containers that share it.
func TestFiles(t *testing.T) {
	mounted := func(volumes map[string]string, containers ...string) *corev1.Pod {
		p := &corev1.Pod{}
		p.Namespace, p.Name = "n", "p"
		for volume, configMap := range volumes {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
				ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: configMap}}}})
		}
		id := int64(99)
		for i, volume := range containers {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
				Name: string(rune('a' + i)), Image: "legacy", Command: []string{"haproxy", "-f", "/etc/haproxy/haproxy.cfg"},
				SecurityContext: &corev1.SecurityContext{RunAsUser: &id}, VolumeMounts: []corev1.VolumeMount{{Name: volume,
					MountPath: "/etc/haproxy"}}})
		}
		return p
	}
	start := v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, Trigger: v1alpha1.TriggerStart}
	both := map[string]string{"v": "with-user", "w": "without"}
	for _, tt := range []struct {
		name    string
		spec    v1alpha1.CapsetPolicySpec
		pod     *corev1.Pod
		outcome Outcome
		asked   []string
	}{
		{"it changes its user", start, mounted(both, "v"), OutcomeClean, []string{"n/with-user/haproxy.cfg"}},
		{"it does not", start, mounted(both, "w"), OutcomeRejected, []string{"n/without/haproxy.cfg"}},
		{"cannot be told", start, mounted(map[string]string{"v": "other"}, "v"), OutcomeRejected, []string{"n/other/haproxy.cfg"}},
		{"for both containers", start, mounted(both, "v", "v"), OutcomeClean, []string{"n/with-user/haproxy.cfg"}},
		{"the containers differ", start, mounted(both, "v", "w"), OutcomeRejected, nil},
		{"no policy asks", v1alpha1.CapsetPolicySpec{}, mounted(both, "v"), OutcomeWarned, nil},
	} {
		source := &files{known: map[string]report.Settings{"n/with-user/haproxy.cfg": {User: true}, "n/without/haproxy.cfg": {}}}
		seen := &observer{}
		policies := policySource(t, tt.spec)
		h := &Handler{Nodes: placement.NewNodes(), Policies: policies, Images: &reader{answers: answers()}, Observer: seen,
			Now: time.Now, Files: source}
		h.Handle(t.Context(), request(t, admissionv1.Create, "", nil, tt.pod))
		if len(seen.answers) != 1 || seen.answers[0].Outcome != tt.outcome {
			t.Errorf("%s: observed %+v, want %s", tt.name, seen.answers, tt.outcome)
		}
		if diff := cmp.Diff(tt.asked, source.asked); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", tt.name, diff)
		}
	}
}

func policySource(t *testing.T, spec v1alpha1.CapsetPolicySpec) source {
	return source{policies: []policy.Policy{clusterPolicy(t, spec)}}
}
