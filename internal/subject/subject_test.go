package subject

import (
	"encoding/json"
	"math/rand"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/capvet/capvet/internal/policy"
)

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "lb"}},
		Spec: corev1.PodSpec{
			Containers:       []corev1.Container{{Name: "lb", Image: image}, {Name: "lb2", Image: image}},
			InitContainers:   []corev1.Container{{Name: "setup", Image: "busybox"}},
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "s"}},
		},
	}
}

// objects are one of each kind, from the same template.
func objects(image string, meta metav1.ObjectMeta) map[string]any {
	tpl := template(image)
	podMeta := meta
	podMeta.Labels = tpl.Labels
	return map[string]any{
		"Pod":         corev1.Pod{ObjectMeta: podMeta, Spec: tpl.Spec},
		"Deployment":  appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Template: tpl}},
		"ReplicaSet":  appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Template: tpl}},
		"StatefulSet": appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Template: tpl}},
		"DaemonSet":   appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Template: tpl}},
		"Job":         batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: tpl}},
		"CronJob": batchv1.CronJob{ObjectMeta: meta,
			Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: tpl}}}},
		"ReplicationController": corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Template: &tpl}},
	}
}

func decode(t *testing.T, kind string, object any) *Subject {
	t.Helper()
	encoded, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Decode(kind, encoded)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDecode(t *testing.T) {
	controlled := true
	owned := metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Name: "o", Controller: &controlled}}}
	deleted := metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}
	want := []policy.Image{
		{Containers: []string{"lb", "lb2"}, Reference: "haproxy:3.0", Name: "docker.io/library/haproxy:3.0"},
		{Containers: []string{"setup"}, Reference: "busybox", Name: "docker.io/library/busybox:latest"},
	}
	all := objects("haproxy:3.0", metav1.ObjectMeta{Name: "x"})
	if len(all) != len(kinds()) {
		t.Fatalf("%d kinds are tested of %d", len(all), len(kinds()))
	}
	for kind, object := range all {
		s := decode(t, kind, object)
		if diff := cmp.Diff(want, s.Images()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
		if s.Object.Name != "x" || s.Template.Labels["app"] != "lb" || s.LeftAlone() || s.Workload() != (kind != "Pod") {
			t.Errorf("%s: %+v", kind, s)
		}
		account := "default"
		if kind == "Pod" {
			account = ""
		}
		if s.ServiceAccount() != account || !cmp.Equal(s.PullSecrets(), []string{"s"}) {
			t.Errorf("%s is pulled as %q with %q", kind, s.ServiceAccount(), s.PullSecrets())
		}
		if got := decode(t, kind, objects("haproxy:3.0", owned)[kind]).LeftAlone(); got != s.Workload() {
			t.Errorf("%s of a controller: left alone is %v", kind, got)
		}
		deletedObject := objects("haproxy:3.0", deleted)[kind]
		encoded, err := json.Marshal(deletedObject)
		if err != nil {
			t.Fatal(err)
		}
		var raw map[string]any
		if err := json.Unmarshal(encoded, &raw); err != nil {
			t.Fatal(err)
		}
		raw["metadata"].(map[string]any)["deletionTimestamp"] = "2027-01-01T00:00:00Z"
		if !decode(t, kind, raw).LeftAlone() {
			t.Errorf("%s is judged while it is deleted", kind)
		}
	}
}

func TestChanged(t *testing.T) {
	old := objects("haproxy:3.0", metav1.ObjectMeta{Name: "x"})
	relabelled := objects("haproxy:3.0", metav1.ObjectMeta{Name: "x", Finalizers: []string{"f"}})
	updated := objects("haproxy:3.1", metav1.ObjectMeta{Name: "x"})
	for kind := range old {
		before := decode(t, kind, old[kind])
		if got := decode(t, kind, relabelled[kind]).Changed(before); got != nil {
			t.Errorf("%s: nothing changed, got %v", kind, got)
		}
		images := decode(t, kind, updated[kind]).Changed(before)
		want := 2 // of a template all images
		if kind == "Pod" {
			want = 1
		}
		if len(images) != want || images[0].Reference != "haproxy:3.1" {
			t.Errorf("%s: got %v", kind, images)
		}
	}
	scaled := decode(t, "Deployment", old["Deployment"])
	replicas := int32(7)
	d := old["Deployment"].(appsv1.Deployment)
	d.Spec.Replicas = &replicas
	if got := decode(t, "Deployment", d).Changed(scaled); got != nil {
		t.Errorf("scaling: got %v", got)
	}
	d.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": "now"}
	if got := decode(t, "Deployment", d).Changed(scaled); len(got) != 2 {
		t.Errorf("a restart makes new Pods: got %v", got)
	}
}

func TestRun(t *testing.T) {
	id := func(i int64) *int64 { return &i }
	yes, no := true, false
	for _, tt := range []struct {
		name      string
		pod       *corev1.PodSecurityContext
		container *corev1.SecurityContext
		want      policy.User
	}{
		{"nothing said", nil, nil, policy.UserOfImage},
		{"the Pod's user", &corev1.PodSecurityContext{RunAsUser: id(99)}, nil, policy.UserNonRoot},
		{"the container's goes first", &corev1.PodSecurityContext{RunAsUser: id(99)}, &corev1.SecurityContext{RunAsUser: id(0)}, policy.UserRoot},
		{"non-root of the Pod", &corev1.PodSecurityContext{RunAsNonRoot: &yes}, nil, policy.UserNonRoot},
		{"non-root taken back", &corev1.PodSecurityContext{RunAsNonRoot: &yes}, &corev1.SecurityContext{RunAsNonRoot: &no}, policy.UserOfImage},
		{"non-root of the container", nil, &corev1.SecurityContext{RunAsNonRoot: &yes}, policy.UserNonRoot},
	} {
		s := &Subject{Kind: KindPod, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{SecurityContext: tt.pod,
			Containers: []corev1.Container{
				{Name: "a", Image: "x", SecurityContext: tt.container, Args: []string{"-f"}},
				{Name: "b", Image: "x", SecurityContext: tt.container, Command: []string{"sleep"}, Args: []string{"1"}},
				{Name: "c", Image: "x", SecurityContext: tt.container, Args: []string{"-f"}},
				{Name: "d", Image: "x", SecurityContext: tt.container},
				{Name: "e", Image: "x", SecurityContext: tt.container, VolumeMounts: []corev1.VolumeMount{{MountPath: "/z"}, {MountPath: "/a"}}},
			}}}}
		want := []policy.Image{
			{Containers: []string{"a", "c"}, Reference: "x", Name: "docker.io/library/x:latest", Run: policy.Run{User: tt.want,
				Args: []string{"-f"}}},
			{Containers: []string{"b"}, Reference: "x", Name: "docker.io/library/x:latest", Run: policy.Run{User: tt.want,
				Command: []string{"sleep", "1"}}},
			{Containers: []string{"d"}, Reference: "x", Name: "docker.io/library/x:latest", Run: policy.Run{User: tt.want}},
			{Containers: []string{"e"}, Reference: "x", Name: "docker.io/library/x:latest", Run: policy.Run{User: tt.want,
				Mounts: []string{"/a", "/z"}}},
		}
		if diff := cmp.Diff(want, s.Images()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	for kind := range objects("x", metav1.ObjectMeta{}) {
		if _, err := Decode(kind, []byte(`{"spec":[]}`)); err == nil || err.Error()[:len("decoding the "+kind)] != "decoding the "+kind {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestKinds(t *testing.T) {
	for _, k := range kinds() {
		if got, ok := KindOfResource(k.group, k.resource); !ok || got != k.kind || !Judged(k.group, k.kind) {
			t.Errorf("%+v: got %s", k, got)
		}
	}
	if _, ok := KindOfResource("", "services"); ok || Judged("apps", "Pod") {
		t.Error("a kind too many")
	}
}

func TestFullName(t *testing.T) {
	for reference, want := range map[string]string{
		"haproxy":                  "docker.io/library/haproxy:latest",
		"docker.io/a/b":            "docker.io/a/b:latest",
		"registry.example.com/x:1": "registry.example.com/x:1",
		"NOT one":                  "NOT one",
		// A pinned digest runs whatever the tag, so the tag must not exempt it.
		"haproxy:3.0@sha256:" + strings.Repeat("a", 64): "docker.io/library/haproxy@sha256:" + strings.Repeat("a", 64),
	} {
		if got := FullName(reference); got != want {
			t.Errorf("%s: got %s", reference, got)
		}
	}
}

// TestConfigMapFile: which key of which ConfigMap a container sees as a file.
func TestConfigMapFile(t *testing.T) {
	configMap := func(volume, name string, items ...corev1.KeyToPath) corev1.Volume {
		return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items}}}
	}
	volumes := []corev1.Volume{
		configMap("plain", "cm"), configMap("items", "picked", corev1.KeyToPath{Key: "main", Path: "etc/haproxy.cfg"}),
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	for _, tt := range []struct {
		name   string
		mounts []corev1.VolumeMount
		file   string
		want   string // name/key; empty: none
	}{
		{"a directory", []corev1.VolumeMount{{Name: "plain", MountPath: "/etc/haproxy/"}}, "/etc/haproxy/haproxy.cfg", "cm/haproxy.cfg"},
		{"one file", []corev1.VolumeMount{{Name: "plain", MountPath: "/etc/haproxy/haproxy.cfg", SubPath: "lb.cfg"}},
			"/etc/haproxy/haproxy.cfg", "cm/lb.cfg"},
		{"by items", []corev1.VolumeMount{{Name: "items", MountPath: "/x"}}, "/x/etc/haproxy.cfg", "picked/main"},
		{"a folder of items", []corev1.VolumeMount{{Name: "items", MountPath: "/x", SubPath: "etc"}}, "/x/haproxy.cfg", "picked/main"},
		{"not among the items", []corev1.VolumeMount{{Name: "items", MountPath: "/x"}}, "/x/main", ""},
		{"the closest", []corev1.VolumeMount{{Name: "scratch", MountPath: "/etc"}, {Name: "plain", MountPath: "/etc/haproxy"},
			{Name: "scratch", MountPath: "/"}}, "/etc/haproxy/a", "cm/a"},
		{"something else lies closer", []corev1.VolumeMount{{Name: "plain", MountPath: "/etc"},
			{Name: "scratch", MountPath: "/etc/haproxy"}}, "/etc/haproxy/a", ""},
		{"at the root", []corev1.VolumeMount{{Name: "plain", MountPath: "/"}}, "/a", "cm/a"},
		{"no key has a slash", []corev1.VolumeMount{{Name: "plain", MountPath: "/etc"}}, "/etc/haproxy/a", ""},
		{"the directory itself", []corev1.VolumeMount{{Name: "plain", MountPath: "/etc"}}, "/etc", ""},
		{"beside", []corev1.VolumeMount{{Name: "plain", MountPath: "/etc/hap"}}, "/etc/haproxy", ""},
		{"an expression", []corev1.VolumeMount{{Name: "plain", MountPath: "/etc", SubPathExpr: "$(A)"}}, "/etc/a", ""},
		{"no such volume", []corev1.VolumeMount{{Name: "gone", MountPath: "/etc"}}, "/etc/a", ""},
		{"no volume", nil, "/etc/a", ""},
	} {
		s := &Subject{Kind: KindPod, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{
			{Name: "other", VolumeMounts: []corev1.VolumeMount{{Name: "plain", MountPath: "/"}}}, {Name: "c", VolumeMounts: tt.mounts}}}}}
		name, key, ok := s.configMapFiles()("c", tt.file)
		got := ""
		if ok {
			got = name + "/" + key
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestDecodeAsEncodingJSON: of random objects of every kind the decoder makes the
// same as encoding/json, by which the API's own types are defined.
func TestDecodeAsEncodingJSON(t *testing.T) {
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(1),
		serializer.NewCodecFactory(runtime.NewScheme())).NilChance(0.3).NumElements(0, 3)
	fill = fill.Funcs(
		func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(c.Int63n(1e9), resource.DecimalSI)
		},
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31()) },
	)
	for range 30 {
		for kind, random := range map[string]any{
			"Pod": &corev1.Pod{}, "Deployment": &appsv1.Deployment{}, "DaemonSet": &appsv1.DaemonSet{}, "StatefulSet": &appsv1.StatefulSet{},
			"Job": &batchv1.Job{}, "CronJob": &batchv1.CronJob{}, "ReplicationController": &corev1.ReplicationController{},
		} {
			fill.Fill(random)
			encoded, err := json.Marshal(random)
			if err != nil {
				t.Fatal(err)
			}
			var want, got object
			if err := json.Unmarshal(encoded, &want); err != nil {
				t.Fatal(err)
			}
			if err := jsonv2.Unmarshal(encoded, &got, jsontext.AllowDuplicateNames(true)); err != nil {
				t.Fatalf("%s: %v\n%s", kind, err, encoded)
			}
			if !equality.Semantic.DeepEqual(want, got) {
				t.Fatalf("%s: %s", kind, cmp.Diff(want, got, cmp.AllowUnexported(object{}.Spec, want, identity{})))
			}
		}
	}
}

// TestWindows: Pods for Windows are left alone.
func TestWindows(t *testing.T) {
	for _, tt := range []struct {
		spec string
		want bool
	}{
		{`{"os":{"name":"windows"}}`, true},
		{`{"nodeSelector":{"kubernetes.io/os":"windows"}}`, true},
		{`{"nodeSelector":{"beta.kubernetes.io/os":"windows"}}`, true},
		{`{"nodeSelector":{"kubernetes.io/os":"linux"}}`, false},
		{`{"nodeSelector":{"example.com/os":"windows"}}`, false},
		{`{"os":{"name":"linux"},"nodeSelector":{"kubernetes.io/os":"windows"}}`, false},
		{`{}`, false},
	} {
		for kind, object := range map[string]string{"Pod": `{"spec":` + tt.spec + `}`,
			"Deployment": `{"spec":{"template":{"spec":` + tt.spec + `}}}`} {
			s, err := Decode(kind, []byte(object))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.LeftAlone(); got != tt.want {
				t.Errorf("%s with %s: left alone is %v", kind, tt.spec, got)
			}
		}
	}
}
