//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/test/testimage"
)

// pushFiles pushes an image for arm64 with the given files and configuration, and
// returns its reference.
func pushFiles(t *testing.T, repository string, config v1.Config, files ...testimage.File) string {
	t.Helper()
	image, err := testimage.Build(t.Context(), testimage.Spec{
		Platform: v1.Platform{OS: "linux", Architecture: "arm64"}, Layers: []testimage.Layer{{CreatedBy: "COPY . /", Files: files}},
		Config: config,
	})
	if err != nil {
		t.Fatal(err)
	}
	reference := shared.front.Host() + "/" + repository
	ref, err := name.ParseReference(reference, name.Insecure)
	if err == nil {
		err = remote.Push(ref, image)
	}
	if err != nil {
		t.Fatal(err)
	}
	return reference
}

func haproxy30File(t *testing.T) testimage.File {
	t.Helper()
	_, spec, _, err := haproxy(t.Context(), "3.0", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	return testimage.File{Path: testimage.OfficialPath, Mode: 0o755, Data: executableOf(spec)}
}

// TestImageSelection: an image without a sign of a known product is read only
// under policies for all images, and an unread image is not called clean.
func TestImageSelection(t *testing.T) {
	reference := pushFiles(t, "shop/app:1", v1.Config{}, haproxy30File(t))
	for name, tt := range map[string]struct {
		images  v1alpha1.ImageSelection
		command []string
		denied  bool
	}{
		"hinted": {v1alpha1.ImagesHinted, nil, false}, "default": {"", nil, false}, "all": {v1alpha1.ImagesAll, nil, true},
		"command": {v1alpha1.ImagesHinted, []string{"haproxy", "-f", "/x"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			spec := rejecting()
			spec.Images = tt.images
			ns := namespace(t, spec)
			app := pod("app", reference)
			app.Spec.Containers[0].Command = tt.command
			warnings, err := create(t, newPerson(t), ns, app)
			if denied(err) != tt.denied || err != nil && !tt.denied || len(warnings) > 0 {
				t.Fatalf("%v, %q", err, warnings)
			}
			annotations := auditAnnotations(t, ns, "app")
			unread := strings.Contains(strings.Join(values(annotations), "\n"), "not read: no sign of a known product")
			if unread == tt.denied {
				t.Errorf("annotations: %v", annotations)
			}
		})
	}
}

// TestHintedCosts: without a sign an image costs its manifest and its configuration,
// and no layer; of a second Pod no more than the manifest, by which it is known.
func TestHintedCosts(t *testing.T) {
	const repository = "shop/plain"
	reference := pushFiles(t, repository+":1", v1.Config{}, haproxy30File(t))
	spec := rejecting()
	spec.Images = v1alpha1.ImagesHinted
	ns := namespace(t, spec)
	blobs := func() (n int) {
		for path, times := range shared.front.fetched(repository + "/blobs/") {
			if n += times; times != 1 {
				t.Errorf("%s was fetched %d times", path, times)
			}
		}
		return n
	}
	for i := range 2 {
		if warnings, err := create(t, newPerson(t), ns, pod(fmt.Sprintf("app-%d", i), reference)); err != nil || len(warnings) > 0 {
			t.Fatalf("%v, %q", err, warnings)
		}
		if n := blobs(); n != 1 {
			t.Errorf("after Pod %d: %d blobs were fetched, want the configuration alone", i, n)
		}
	}
}

func values(m map[string]string) []string {
	var out []string
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// TestBinarySelection: a legacy program that is no proxy concerns policies for
// all binaries alone.
func TestBinarySelection(t *testing.T) {
	program, err := os.ReadFile(filepath.Join(shared.root, "internal", "elfcaps", "testdata", "bin", "arm64_two_levels_v1_O2"))
	if err != nil {
		t.Fatal(err)
	}
	reference := pushFiles(t, "shop/tools:1", v1.Config{}, testimage.File{Path: "/opt/tool", Mode: 0o755, Data: program})
	for name, tt := range map[string]struct {
		binaries v1alpha1.BinarySelection
		denied   bool
	}{"proxies": {v1alpha1.BinariesProxies, false}, "all": {v1alpha1.BinariesAll, true}} {
		t.Run(name, func(t *testing.T) {
			spec := rejecting()
			spec.Images, spec.Binaries = v1alpha1.ImagesAll, tt.binaries
			ns := namespace(t, spec)
			warnings, err := create(t, newPerson(t), ns, pod("tool", reference))
			if denied(err) != tt.denied || err != nil && !tt.denied || len(warnings) > 0 {
				t.Fatalf("%v, %q", err, warnings)
			}
			if tt.denied {
				wantParts(t, err.Error(), "/opt/tool makes legacy 32-bit (v1) capability calls on arm64")
			}
		})
	}
}

// TestConfiguration: when the calls run is judged by the configuration in the
// image, and by one in a ConfigMap once capvet has the right to read it.
func TestConfiguration(t *testing.T) {
	const config = "/usr/local/etc/haproxy/haproxy.cfg"
	withUser := []byte("global\n  user haproxy\ndefaults\n  mode http\n")
	image := v1.Config{User: "99", Entrypoint: []string{"haproxy"}, Cmd: []string{"-f", config}}
	plain := pushFiles(t, "lb/haproxy:plain", image, haproxy30File(t), testimage.File{Path: config, Data: []byte("global\n")})
	changing := pushFiles(t, "lb/haproxy:changing", image, haproxy30File(t), testimage.File{Path: config, Data: withUser})
	spec := rejecting()
	spec.Trigger = v1alpha1.TriggerStart
	ns := namespace(t, spec)
	p := newPerson(t)
	_, err := create(t, p, ns, pod("plain", plain))
	if !denied(err) {
		t.Fatalf("without a user: %v", err)
	}
	wantParts(t, err.Error(), "`global` of "+config+" has no `user`/`uid` or `setcap`, so it makes this call at every start")
	if warnings, err := create(t, p, ns, pod("changing", changing)); err != nil || len(warnings) > 0 {
		t.Errorf("with a user: %v, %q", err, warnings)
	}

	if err := shared.Client.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "lb"},
		Data: map[string]string{"haproxy.cfg": string(withUser)}}); err != nil {
		t.Fatal(err)
	}
	mounting := func(name string) *corev1.Pod {
		lb := pod(name, plain)
		lb.Spec.Volumes = []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "lb"}}}}}
		lb.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "config", MountPath: filepath.Dir(config)}}
		return lb
	}
	_, err = create(t, p, ns, mounting("refused"))
	if !denied(err) {
		t.Fatalf("without the right: %v", err)
	}
	wantParts(t, err.Error(), "at every start, unless `global` has `user` or `uid`")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "capvet-configmaps"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}}}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "capvet-configmaps"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "capvet-system", Name: "capvet"}}}
	if err := errors.Join(shared.Client.Create(t.Context(), role), shared.Client.Create(t.Context(), binding)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(shared.Client.Delete(context.Background(), role), shared.Client.Delete(context.Background(), binding)); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func(context.Context) error { // the authorizer follows
		_, err := create(t, p, ns, mounting("allowed"))
		return err
	})
}
