//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/test/testimage"
)

// deniedWorkload reports whether an error is the workloads webhook's denial.
func deniedWorkload(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `admission webhook "workloads.capvet.dev" denied the request`)
}

func templateOf(image string) corev1.PodTemplateSpec {
	spec := pod("", image).Spec
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "lb"}}, Spec: spec}
}

func deployment(name, image string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "lb"}}, Template: templateOf(image),
	}}
}

// workloads returns one of each kind, with the same template, in a namespace.
func workloads(namespace, name, image string) []client.Object {
	meta := metav1.ObjectMeta{Name: name, Namespace: namespace}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "lb"}}
	template := templateOf(image)
	once := template
	once.Spec.RestartPolicy = corev1.RestartPolicyNever
	d := deployment(name, image)
	d.Namespace = namespace
	return []client.Object{
		d,
		&appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}},
		&appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}},
		&appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
		&batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: once}},
		&batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "0 0 * * *",
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: once}}}},
		&corev1.ReplicationController{ObjectMeta: meta,
			Spec: corev1.ReplicationControllerSpec{Selector: selector.MatchLabels, Template: &template}},
	}
}

func TestWorkloads(t *testing.T) {
	rejectAll := rejecting()
	rejectAll.Workloads = v1alpha1.WorkloadReject
	silent := rejecting()
	silent.Workloads = v1alpha1.WorkloadIgnore
	for _, tt := range []struct {
		name   string
		spec   *v1alpha1.CapsetPolicySpec
		denied bool
		text   string // part of the warnings or the denial; empty: silence
	}{
		{"warn", warning(), false, "makes legacy 32-bit (v1) capability calls"},
		{"reject-pods", rejecting(), false, "Pods of this template will be rejected by CapsetPolicy/"},
		{"reject", rejectAll, true, "makes legacy 32-bit (v1) capability calls"},
		{"ignore", silent, false, ""},
		{"no-policy", nil, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := namespace(t, tt.spec)
			p := newPerson(t)
			for _, w := range workloads(ns, "legacy", shared.images.haproxy30) {
				p.warnings()
				err := p.client.Create(t.Context(), w)
				text := strings.Join(p.warnings(), "\n")
				if tt.denied != deniedWorkload(err) || (err != nil && !tt.denied) {
					t.Errorf("%T: %v", w, err)
					continue
				}
				if err != nil {
					text = err.Error()
				}
				if !strings.Contains(text, tt.text) || (tt.text == "") != (text == "") {
					t.Errorf("%T: %q", w, text)
				}
			}
			for _, w := range workloads(ns, "fixed", shared.images.haproxy32) {
				if err := p.client.Create(t.Context(), w); err != nil || len(p.warnings()) > 0 {
					t.Errorf("%T with the fixed version: %v", w, err)
				}
			}
		})
	}
}

// TestWorkloadLeftAlone: an update that keeps the template passes without a
// warning even if a new workload would be rejected; an update of the template is
// judged.
func TestWorkloadLeftAlone(t *testing.T) {
	ns := namespace(t, nil)
	p := newPerson(t)
	deployments := p.AppsV1().Deployments(ns)
	d := deployment("web", shared.images.haproxy30)
	d.Finalizers = []string{"capvet.dev/test"}
	// The largest templates must be within the cost limit of matchConditions.
	for i := range 49 {
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("c%d", i), Image: shared.images.haproxy32, Env: []corev1.EnvVar{{Name: "TEXT", Value: strings.Repeat("x", 4096)}},
		})
	}
	if _, err := deployments.Create(ctx, d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	spec := rejecting()
	spec.Workloads = v1alpha1.WorkloadReject
	if err := shared.Client.Create(ctx, &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: ns},
		Spec: *spec}); err != nil {
		t.Fatal(err)
	}
	awaitPolicy(t, ns, "own")
	patch := func(patch string, subresources ...string) error {
		_, err := deployments.Patch(ctx, "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
		return err
	}
	before := shared.front.requests.Load()
	p.warnings()
	for what, change := range map[string]func() error{
		"label":    func() error { return patch(`{"metadata":{"labels":{"a":"b"}}}`) },
		"replicas": func() error { return patch(`{"spec":{"replicas":3}}`) },
		"status":   func() error { return patch(`{"status":{"replicas":1}}`, "status") },
		"scale": func() error {
			_, err := deployments.UpdateScale(ctx, "web", &autoscalingv1.Scale{
				ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 5}}, metav1.UpdateOptions{})
			return err
		},
	} {
		if err := change(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	controlled := true
	replicaSet := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "web-1", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "1", Controller: &controlled}}},
		Spec: appsv1.ReplicaSetSpec{Selector: d.Spec.Selector, Template: templateOf(shared.images.haproxy30)}}
	if _, err := p.AppsV1().ReplicaSets(ns).Create(ctx, replicaSet, metav1.CreateOptions{}); err != nil {
		t.Errorf("a controller's ReplicaSet: %v", err)
	}
	if n := shared.front.requests.Load() - before; n != 0 || len(p.warnings()) > 0 {
		t.Errorf("%d requests to the registry for what changes no template", n)
	}
	// New Pods come of these.
	for what, change := range map[string]string{
		"image":   `{"spec":{"template":{"spec":{"containers":[{"name":"c0","image":"` + shared.images.haproxy30 + `"}]}}}}`,
		"restart": `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}`,
	} {
		if err := patch(change); !deniedWorkload(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := deployments.Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Errorf("deletion: %v", err)
	}
	if err := patch(`{"metadata":{"finalizers":null}}`); err != nil {
		t.Errorf("finalizer: %v", err)
	}
}

// TestWorkloadPullSecrets: a template is pulled as its Pods will be.
func TestWorkloadPullSecrets(t *testing.T) {
	ns := namespace(t, warning())
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "right", Namespace: ns}, Type: corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{
			corev1.DockerConfigJsonKey: fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, shared.private.Host(), privateUser,
				privatePassword)}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "puller", Namespace: ns},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "right"}}}
	for _, object := range []client.Object{secret, account} {
		if err := shared.Client.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	p := newPerson(t)
	for _, tt := range []struct {
		name string
		set  func(*corev1.PodSpec)
		text string
	}{
		{"none", func(*corev1.PodSpec) {}, "accepted none of the Pod's credentials"},
		{"template", func(s *corev1.PodSpec) { s.ImagePullSecrets = account.ImagePullSecrets }, "makes legacy"},
		{"account", func(s *corev1.PodSpec) { s.ServiceAccountName = "puller" }, "makes legacy"},
		{"default-account", func(*corev1.PodSpec) {
			if err := shared.Client.Patch(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: ns}},
				client.RawPatch(types.MergePatchType, []byte(`{"imagePullSecrets":[{"name":"right"}]}`))); err != nil {
				t.Fatal(err)
			}
		}, "makes legacy"},
	} {
		d := deployment(tt.name, shared.images.private)
		tt.set(&d.Spec.Template.Spec)
		p.warnings()
		if _, err := p.AppsV1().Deployments(ns).Create(ctx, d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		wantParts(t, strings.Join(p.warnings(), "\n"), tt.text)
	}
}

// TestWorkloadWarmsTheCache: the Pods of a workload that was judged find its
// image known.
func TestWorkloadWarmsTheCache(t *testing.T) {
	_, spec, _, err := haproxy(t.Context(), "3.0", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	image, err := testimage.Build(t.Context(), spec.With(testimage.Layer{Files: []testimage.File{testimage.Noise("noise", 1<<10, 2)}}))
	if err != nil {
		t.Fatal(err)
	}
	reference := shared.front.Host() + "/library/warm:1"
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(ref, image); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, warning())
	p := newPerson(t)
	before := shared.front.blobs.Load()
	if _, err := p.AppsV1().Deployments(ns).Create(ctx, deployment("web", reference), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cold := shared.front.blobs.Load() - before
	warnings, err := create(t, p, ns, pod("web-1", reference))
	if err != nil || len(warnings) == 0 {
		t.Errorf("%v, %q", err, warnings)
	}
	// A lone manifest's platform stands in its configuration.
	if warm := shared.front.blobs.Load() - before - cold; warm > 1 || cold < 2 {
		t.Errorf("%d blobs were fetched for the workload, and %d again for its Pod", cold, warm)
	}
}
