//go:build integration

package bounds

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/capvet/capvet/api/v1alpha1"
)

// tenant creates Pods in a namespace and collects the warnings.
type tenant struct {
	kubernetes.Interface
	namespace string

	mu       sync.Mutex
	warnings []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (u *tenant) HandleWarningHeader(_ int, _ string, text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.warnings = append(u.warnings, text)
}

// newTenant creates a namespace with a policy, and waits until the webhook applies it.
func newTenant(t *testing.T, spec v1alpha1.CapsetPolicySpec) *tenant {
	t.Helper()
	u := &tenant{namespace: strings.ToLower(t.Name())}
	if err := shared.CreateNamespace(t.Context(), u.namespace, nil); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(shared.Config)
	config.WarningHandler, config.QPS = u, -1
	var err error
	if u.Interface, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	policy := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: u.namespace}, Spec: spec}
	if err := shared.Client.Create(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		warnings, err := u.create(ctx, pod("probe", shared.haproxy30))
		if len(warnings) == 0 && !apierrors.IsForbidden(err) {
			return fmt.Errorf("the policy has no effect yet: %w", err)
		}
		return nil
	})
	return u
}

// create asks for a Pod in a dry run, and returns the warnings about it.
func (u *tenant) create(ctx context.Context, p *corev1.Pod) ([]string, error) {
	_, err := u.CoreV1().Pods(u.namespace).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	u.mu.Lock()
	defer u.mu.Unlock()
	warnings := u.warnings
	u.warnings = nil
	return warnings, err
}

// createAll asks for several Pods at once.
func (u *tenant) createAll(t *testing.T, pods []*corev1.Pod) {
	t.Helper()
	var all sync.WaitGroup
	for _, p := range pods {
		all.Go(func() {
			if _, err := u.CoreV1().Pods(u.namespace).Create(t.Context(), p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
				t.Errorf("%s: %v", p.Name, err)
			}
		})
	}
	all.Wait()
}

func pod(name string, images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

// eventually tries until there is no error, for a minute at most.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	var last error
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	}); err != nil {
		t.Fatal(errors.Join(err, last))
	}
}

// wantAlive fails the test if the webhook ended, passed its memory limit, or no longer warns of HAProxy 3.0.
func wantAlive(t *testing.T, u *tenant) {
	t.Helper()
	peak, err := shared.memory.Check()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB were resident at the peak", peak>>20)
	eventually(t, func(ctx context.Context) error {
		warnings, err := u.create(ctx, pod("after", shared.haproxy30))
		if told := strings.Join(warnings, "\n"); err != nil || !strings.Contains(told, "makes legacy") {
			return fmt.Errorf("HAProxy 3.0 afterwards: %q %w", told, err)
		}
		return nil
	})
}

// TestElements: documents of a registry with many small elements. Each becomes a warning, and none is kept in memory.
func TestElements(t *testing.T) {
	u := newTenant(t, v1alpha1.CapsetPolicySpec{Images: v1alpha1.ImagesAll})
	const size = 1 << 20
	list := func(element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", size/(len(element)+1)), ",") + "]"
	}
	object := func(value string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, `"%d":%s,`, i, value)
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	small := []byte(`{"os":"linux","architecture":"arm64"}`)
	config := `"config":{"mediaType":"` + string(types.OCIConfigJSON) + `","size":37,"digest":"` + digestOf(small) + `"}`
	manifests := map[string]string{
		"layers":      `{"schemaVersion":2,` + config + `,"layers":` + list(`{}`) + `}`,
		"annotations": `{"schemaVersion":2,` + config + `,"layers":[],"annotations":` + object(`""`) + `}`,
		"nested":      `{"schemaVersion":2,` + config + `,"layers":[],"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
	}
	configs := map[string]string{
		"history":  `{"os":"linux","architecture":"arm64","history":` + list(`{}`) + `}`,
		"env":      `{"os":"linux","architecture":"arm64","config":{"Env":` + list(`""`) + `}}`,
		"labels":   `{"os":"linux","architecture":"arm64","config":{"Labels":` + object(`""`) + `}}`,
		"commands": `{"os":"linux","architecture":"arm64","config":{"Cmd":` + list(`""`) + `}}`,
		"diffids":  `{"os":"linux","architecture":"arm64","rootfs":{"diff_ids":` + list(`""`) + `}}`,
	}
	references := map[string]string{
		"entries": shared.registry.serve("library/haproxy-entries", types.OCIImageIndex,
			[]byte(`{"schemaVersion":2,"manifests":`+list(`{}`)+`}`)),
	}
	for name, manifest := range manifests {
		references[name] = shared.registry.serve("library/haproxy-"+name, types.OCIManifestSchema1, []byte(manifest), small)
	}
	for name, text := range configs {
		references[name] = shared.registry.serve("library/haproxy-"+name, types.OCIManifestSchema1, manifestOf([]byte(text)), []byte(text))
	}
	// One after another: each has a warning of its own, but for a list that capvet does not read.
	for name, reference := range references {
		warnings, err := u.create(t.Context(), pod("alone", reference))
		if err != nil || len(warnings) == 0 && name != "diffids" {
			t.Errorf("%s: %v, %q", name, err, warnings)
		}
	}
	// All at once, each under several names, so that no cache helps.
	var pods []*corev1.Pod
	for name := range manifests {
		for i := range 12 {
			reference := shared.registry.serve(fmt.Sprintf("library/haproxy-%s-%d", name, i), types.OCIManifestSchema1,
				[]byte(manifests[name]), small)
			pods = append(pods, pod(fmt.Sprintf("%s-%d", name, i), reference))
		}
	}
	for name, text := range configs {
		for i := range 12 {
			reference := shared.registry.serve(fmt.Sprintf("library/haproxy-%s-%d", name, i), types.OCIManifestSchema1,
				manifestOf([]byte(text)), []byte(text))
			pods = append(pods, pod(fmt.Sprintf("%s-%d", name, i), reference))
		}
	}
	u.createAll(t, pods)
	wantAlive(t, u)
}

// TestWords: a Pod of almost the API server's largest size is refused for the HAProxy 3.0 in it.
func TestWords(t *testing.T) {
	u := newTenant(t, v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject})
	words := slices.Repeat([]string{"a"}, 140_000)
	for name, change := range map[string]func(p *corev1.Pod){
		"words": func(p *corev1.Pod) { p.Spec.Containers[0].Args, p.Spec.Containers[1].Args = words, words },
		"containers": func(p *corev1.Pod) {
			for i := range 4000 {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("more-%d", i), Image: shared.haproxy30,
					Args: []string{fmt.Sprint(i)}})
			}
		},
		"images": func(p *corev1.Pod) {
			for i := range 4000 {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("more-%d", i),
					Image: fmt.Sprintf("%s/library/haproxy:more-%d", shared.registry.host(), i)})
			}
		},
		"long name": func(p *corev1.Pod) { p.Spec.Containers[0].Image = strings.Repeat("a/", 1<<20) + "b" },
		"terms": func(p *corev1.Pod) {
			term := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
				{Key: "kubernetes.io/arch", Operator: corev1.NodeSelectorOpIn, Values: []string{"arm64"}}}}
			required := &corev1.NodeSelector{NodeSelectorTerms: slices.Repeat([]corev1.NodeSelectorTerm{term}, 20_000)}
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
		},
	} {
		p := pod("large", shared.haproxy30, shared.haproxy30, shared.haproxy30)
		change(p)
		if _, err := u.create(t.Context(), p); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "capvet.dev") {
			t.Errorf("%s: got %.500v", name, err)
		}
	}
	if _, err := shared.memory.Check(); err != nil {
		t.Error(err)
	}
}

// TestPolicies: policies with as many exemptions as the API server takes. The webhook starts with them, and answers.
func TestPolicies(t *testing.T) {
	u := newTenant(t, v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn})
	created := 0
	for size := 32; size > 0; size /= 2 {
		for i := range 6 {
			policy := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("large-%d-%d", size, i), Namespace: u.namespace}}
			for range size {
				policy.Spec.Exemptions = append(policy.Spec.Exemptions, v1alpha1.Exemption{
					Reason: "r", Images: slices.Repeat([]string{"**/" + strings.Repeat("*a", 20) + "b"}, size)})
			}
			switch err := shared.Client.Create(t.Context(), policy); {
			case err == nil:
				created++
			case !apierrors.IsInvalid(err) && !apierrors.IsRequestEntityTooLargeError(err):
				t.Errorf("%d x %d patterns: %v", size, size, err)
			}
		}
		if created > 0 {
			t.Logf("the API server took %d policies of %d x %d patterns", created, size, size)
			break
		}
	}
	if created == 0 {
		t.Error("the API server took no policy")
	}
	long := shared.registry.host() + "/" + strings.Repeat("a/", 100) + "a:1"
	if _, err := u.create(t.Context(), pod("long", long)); err != nil {
		t.Errorf("a long image name: %v", err)
	}
	wantAlive(t, u)
	// A second webhook starts with these policies.
	next, err := shared.start(t.Context(), filepath.Join(t.TempDir(), "next"))
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Stop(); err != nil {
		t.Error(err)
	}
	if err := shared.Repoint(t.Context(), shared.root, shared.webhook); err != nil {
		t.Fatal(err)
	}
}

// linkLayer returns a gzip layer of links named haproxy in folders of their own, each to the next one and the last
// to /usr/sbin/haproxy.
func linkLayer(t *testing.T, layer, links int) []byte {
	t.Helper()
	var b bytes.Buffer
	packed := gzip.NewWriter(&b)
	archive := tar.NewWriter(packed)
	for i := range links {
		target := "/usr/sbin/haproxy"
		if i < links-1 {
			target = fmt.Sprintf("../%d-%d/haproxy", layer, i+1)
		}
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprintf("opt/%d-%d/haproxy", layer, i),
			Linkname: target, Mode: 0o777}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// executableLayer returns a gzip layer with the file /usr/sbin/haproxy. It is not compressed.
func executableLayer(t *testing.T, size int64, content io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	packed, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(packed)
	if err := archive.WriteHeader(&tar.Header{Name: "usr/sbin/haproxy", Mode: 0o755, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(archive, content, size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSlow: an image with many links to one program, and a registry that hardly answers. A Pod gets a warning for
// each, and the scans end.
func TestSlow(t *testing.T) {
	u := newTenant(t, v1alpha1.CapsetPolicySpec{})
	config := []byte(`{"os":"linux","architecture":"arm64"}`)
	program, err := os.ReadFile(filepath.Join(shared.root, "test", "fixtures", "haproxy30-arm64"))
	if err != nil {
		t.Fatal(err)
	}
	blobs := [][]byte{config, executableLayer(t, int64(len(program)), bytes.NewReader(program))}
	for layer := range 100 {
		blobs = append(blobs, linkLayer(t, layer, 60))
	}
	links := shared.registry.serve("library/haproxy-links", types.OCIManifestSchema1, manifestOf(config, blobs[1:]...), blobs...)
	layer := linkLayer(t, 0, 1)
	drips := shared.registry.serve("library/haproxy-drips", types.OCIManifestSchema1, manifestOf(config, layer), config)
	shared.registry.drip("/v2/library/haproxy-drips/blobs/"+digestOf(layer), http.StatusNotFound)
	eventually(t, func(ctx context.Context) error {
		warnings, err := u.create(ctx, pod("links", links))
		if told := strings.Join(warnings, "\n"); err != nil || !strings.Contains(told, "legacy 32-bit (v1) capability calls") {
			return fmt.Errorf("links: %q %w", told, err)
		}
		return nil
	})
	eventually(t, func(ctx context.Context) error { // a review that waits for the scan logs its end
		warnings, err := u.create(ctx, pod("drips", drips))
		if err != nil || len(warnings) == 0 {
			return fmt.Errorf("drips: %q %w", warnings, err)
		}
		if log, err := os.ReadFile(shared.webhook.Log); err != nil || !strings.Contains(string(log), "the registry sends too slowly") {
			return fmt.Errorf("the scan of an image whose layer drips has not ended: %w", err)
		}
		return nil
	})
	wantAlive(t, u)
}

// TestKilled: a webhook that is killed while it holds a file of an image on disk leaves no file.
func TestKilled(t *testing.T) {
	u := newTenant(t, v1alpha1.CapsetPolicySpec{})
	temporary := filepath.Join(t.TempDir(), "spool")
	webhook, err := shared.start(t.Context(), temporary)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := shared.Repoint(t.Context(), shared.root, shared.webhook); err != nil {
			t.Error(err)
		}
	}()
	config := []byte(`{"os":"linux","architecture":"arm64"}`)
	content := io.MultiReader(strings.NewReader(elf.ELFMAG+"\x02\x01\x01"), rand.NewChaCha8([32]byte{}))
	layer := executableLayer(t, 48<<20, content)
	reference := shared.registry.serve("library/haproxy-halts", types.OCIManifestSchema1, manifestOf(config, layer), config)
	shared.registry.halt("/v2/library/haproxy-halts/blobs/"+digestOf(layer), layer[:len(layer)-1<<20])
	eventually(t, func(ctx context.Context) error { // the API server may still ask the other webhook
		if _, err := u.create(ctx, pod("spooled", reference)); err != nil {
			return err
		}
		return holdsFile(webhook.PID(), temporary)
	})
	webhook.Kill()
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// holdsFile returns an error if a process has no open file in a folder.
func holdsFile(pid int, folder string) error {
	descriptors := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if file, err := os.Readlink(filepath.Join(descriptors, entry.Name())); err == nil && strings.HasPrefix(file, folder) {
			return nil
		}
	}
	return fmt.Errorf("process %d has no open file in %s", pid, folder)
}
