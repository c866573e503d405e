//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/capvet/capvet/api/v1alpha1"
)

var ctx = context.Background()

func create(t *testing.T, p *person, namespace string, pod *corev1.Pod) ([]string, error) {
	t.Helper()
	p.warnings()
	_, err := p.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	return p.warnings(), err
}

// upstream is the version that the binary carries, without Debian's revision.
func upstream(version string) string {
	short, _, _ := strings.Cut(version, "-")
	return short
}

func TestWarning(t *testing.T) {
	ns := namespace(t, warning())
	p := newPerson(t)
	warnings, err := create(t, p, ns, pod("legacy", shared.images.haproxy30))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(warnings, "\n")
	wantParts(t, text, `container "lb"`, shared.images.haproxy30, "haproxy "+upstream(shared.images.version30), "legacy 32-bit (v1)", "arm64",
		"/usr/local/sbin/haproxy calls capget in prepare_caps_from_permitted_set", "armless", "3.2", "the policy is CapsetPolicy/"+ns+"/")
	total := 0
	for _, w := range warnings {
		total += utf8.RuneCountInString(w)
		if utf8.RuneCountInString(w) > 256 || strings.ContainsFunc(w, unicode.IsControl) {
			t.Errorf("breaks the API server's rules: %q", w)
		}
	}
	if len(warnings) == 0 || len(warnings) > 6 || total > 4096 {
		t.Errorf("%d warnings of %d runes: %q", len(warnings), total, warnings)
	}

	annotations := auditAnnotations(t, ns, "legacy")
	if got := annotations["pods.capvet.dev/decision"]; got != "Warn" {
		t.Errorf("audit annotation decision is %q in %v", got, annotations)
	}
	var findings []struct{ Path, ABI, Basis, Policy string }
	if err := json.Unmarshal([]byte(annotations["pods.capvet.dev/findings"]), &findings); err != nil {
		t.Fatal(err)
	}
	if len(findings) != 1 || findings[0].ABI != "v1" || findings[0].Basis != "code" || findings[0].Policy != "CapsetPolicy/"+ns+"/own" {
		t.Errorf("findings: %+v", findings)
	}
}

func TestFixedVersionIsSilent(t *testing.T) {
	for _, spec := range []*v1alpha1.CapsetPolicySpec{warning(), rejecting()} {
		t.Run(string(spec.Action), func(t *testing.T) {
			if warnings, err := create(t, newPerson(t), namespace(t, spec), pod("fixed", shared.images.haproxy32)); err != nil || len(warnings) > 0 {
				t.Errorf("%v, %q", err, warnings)
			}
		})
	}
}

func TestReject(t *testing.T) {
	ns := namespace(t, rejecting())
	warnings, err := create(t, newPerson(t), ns, pod("legacy", shared.images.haproxy32, shared.images.haproxy30))
	if !denied(err) || len(warnings) > 0 {
		t.Fatalf("%v, %q", err, warnings)
	}
	wantParts(t, err.Error(), "rejected by CapsetPolicy/"+ns+"/own", `container "c1"`, shared.images.haproxy30,
		"haproxy "+upstream(shared.images.version30),
		"/usr/local/sbin/haproxy calls capget", "armless", "3.2")
}

func TestNoPolicy(t *testing.T) {
	before := shared.front.requests.Load()
	if warnings, err := create(t, newPerson(t), namespace(t, nil), pod("legacy", shared.images.haproxy30)); err != nil || len(warnings) > 0 {
		t.Errorf("%v, %q", err, warnings)
	}
	if n := shared.front.requests.Load() - before; n != 0 {
		t.Errorf("%d requests to the registry without a policy", n)
	}
}

func TestDryRun(t *testing.T) {
	ns := namespace(t, rejecting())
	p := newPerson(t)
	rejections := func() (dry, real string) {
		_, metrics := get(t, shared.webhook.Metrics+"/metrics")
		for line := range strings.Lines(metrics) {
			if count, ok := strings.CutPrefix(line, `capvet_admission_requests_total{dry_run="true",outcome="rejected"} `); ok {
				dry = count
			}
			if count, ok := strings.CutPrefix(line, `capvet_admission_requests_total{dry_run="false",outcome="rejected"} `); ok {
				real = count
			}
		}
		return dry, real
	}
	dryBefore, realBefore := rejections()
	_, err := p.CoreV1().Pods(ns).Create(ctx, pod("legacy", shared.images.haproxy30), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if !denied(err) {
		t.Errorf("got %v", err)
	}
	if dry, real := rejections(); dry == dryBefore || real != realBefore {
		t.Errorf("a dry run is not counted apart: %s became %s, and others %s became %s", dryBefore, dry, realBefore, real)
	}
	if _, err := p.CoreV1().Pods(ns).Create(ctx, pod("fixed", shared.images.haproxy32),
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestLeftAlone: policies pass over mirror Pods, and over Pods for Windows.
func TestLeftAlone(t *testing.T) {
	ns := namespace(t, rejecting())
	mirror := pod("mirror", shared.images.haproxy30)
	mirror.Annotations, mirror.Spec.NodeName = map[string]string{corev1.MirrorPodAnnotationKey: "x"}, "node"
	windows := pod("windows", shared.images.haproxy30)
	windows.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
	selecting := pod("windows-nodes", shared.images.haproxy30)
	selecting.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: string(corev1.Windows)}
	for _, left := range []*corev1.Pod{mirror, windows, selecting} {
		if warnings, err := create(t, newPerson(t), ns, left); err != nil || len(warnings) > 0 {
			t.Errorf("%s: %q, %v", left.Name, warnings, err)
		}
	}
}

// TestExemption: an exempt image is neither judged nor fetched, and the audit log
// has the reason.
func TestExemption(t *testing.T) {
	spec := rejecting()
	spec.Exemptions = []v1alpha1.Exemption{
		{Images: []string{shared.images.haproxy30}, Reason: "vendor fix due in March"},
		{Images: []string{"**"}, Reason: "over", Expires: &metav1.Time{Time: time.Unix(0, 0)}},
	}
	if err := shared.CreateNamespace(ctx, "testexemption", nil); err != nil {
		t.Fatal(err)
	}
	if err := shared.Client.Create(ctx, &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: "testexemption"},
		Spec: *spec}); err != nil {
		t.Fatal(err)
	}
	awaitPolicy(t, "testexemption", "own")
	before := shared.front.requests.Load()
	if warnings, err := create(t, newPerson(t), "testexemption", pod("exempt", shared.images.haproxy30)); err != nil || len(warnings) > 0 {
		t.Errorf("%q, %v", warnings, err)
	}
	if n := shared.front.requests.Load() - before; n != 0 {
		t.Errorf("%d requests to the registry for an exempt image", n)
	}
	annotations := auditAnnotations(t, "testexemption", "exempt")
	if annotations["pods.capvet.dev/decision"] != "Ignore" {
		t.Errorf("annotations: %v", annotations)
	}
	wantParts(t, annotations["pods.capvet.dev/exemptions"], "vendor fix due in March", "CapsetPolicy/testexemption/own",
		shared.images.haproxy30)
}

func TestInitContainer(t *testing.T) {
	ns := namespace(t, rejecting())
	legacy := pod("legacy", shared.images.haproxy32)
	legacy.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: shared.images.haproxy30}}
	if _, err := create(t, newPerson(t), ns, legacy); !denied(err) || !strings.Contains(err.Error(), `container "setup"`) {
		t.Errorf("got %v", err)
	}
}

func TestEphemeralContainer(t *testing.T) {
	ns := namespace(t, rejecting())
	p := newPerson(t)
	if _, err := create(t, p, ns, pod("web", shared.images.haproxy32)); err != nil {
		t.Fatal(err)
	}
	add := func(image string) error {
		current, err := p.CoreV1().Pods(ns).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		current.Spec.EphemeralContainers = append(current.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: fmt.Sprintf("debug%d", len(current.Spec.EphemeralContainers)),
				Image: image, TerminationMessagePolicy: corev1.TerminationMessageReadFile, ImagePullPolicy: corev1.PullIfNotPresent},
		})
		_, err = p.CoreV1().Pods(ns).UpdateEphemeralContainers(ctx, "web", current, metav1.UpdateOptions{})
		return err
	}
	if err := add(shared.images.haproxy30); !denied(err) || !strings.Contains(err.Error(), `container "debug0"`) {
		t.Errorf("legacy: %v", err)
	}
	if err := add(shared.images.haproxy32); err != nil {
		t.Errorf("fixed: %v", err)
	}
}

func TestUpdates(t *testing.T) {
	ns := namespace(t, warning())
	p := newPerson(t)
	legacy := pod("web", shared.images.haproxy30)
	legacy.Finalizers = []string{"example.com/keep"}
	if _, err := create(t, p, ns, legacy); err != nil {
		t.Fatal(err)
	}
	policy := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: ns}}
	if err := shared.Client.Patch(ctx, policy, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"action":"Reject"}}`))); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(ctx context.Context) error {
		_, err := p.CoreV1().Pods(ns).Create(ctx, pod("probe", shared.images.haproxy30), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !denied(err) {
			return fmt.Errorf("the changed policy does not show yet: %w", err)
		}
		return nil
	})
	p.warnings()
	before := shared.front.requests.Load()
	patch := func(patch string) error {
		_, err := p.CoreV1().Pods(ns).Patch(ctx, "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	// None of these changes brings an image, so all pass, though a new Pod would be rejected.
	if err := patch(`{"metadata":{"labels":{"a":"b"}}}`); err != nil {
		t.Errorf("label: %v", err)
	}
	if err := p.CoreV1().Pods(ns).Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Errorf("deletion: %v", err)
	}
	if err := patch(`{"metadata":{"finalizers":null}}`); err != nil {
		t.Errorf("finalizer: %v", err)
	}
	if n := shared.front.requests.Load() - before; n != 0 || len(p.warnings()) > 0 {
		t.Errorf("%d requests to the registry for updates that change no image", n)
	}

	if _, err := create(t, p, ns, pod("other", shared.images.haproxy32)); err != nil {
		t.Fatal(err)
	}
	_, err := p.CoreV1().Pods(ns).Patch(ctx, "other", types.StrategicMergePatchType,
		[]byte(`{"spec":{"containers":[{"name":"lb","image":"`+shared.images.haproxy30+`"}]}}`), metav1.PatchOptions{})
	if !denied(err) {
		t.Errorf("image update: %v", err)
	}
}

// TestPolicies: strictest wins, cluster policies go by namespace label, and a
// deleted policy no longer holds.
func TestPolicies(t *testing.T) {
	p := newPerson(t)
	policy := &v1alpha1.ClusterCapsetPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "test-policies"},
		Spec: v1alpha1.ClusterCapsetPolicySpec{
			NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"stage": "prod"}},
			CapsetPolicySpec:  *rejecting(),
		},
	}
	if err := shared.Client.Create(ctx, policy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.Client.Delete(ctx, policy) })
	if err := shared.CreateNamespace(ctx, "policies-prod", map[string]string{"stage": "prod"}); err != nil {
		t.Fatal(err)
	}
	outcome := func(ns string) string {
		p.warnings()
		_, err := p.CoreV1().Pods(ns).Create(ctx, pod("probe", shared.images.haproxy30), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch warned := len(p.warnings()) > 0; {
		case denied(err):
			return "rejected"
		case err != nil:
			return err.Error()
		case warned:
			return "warned"
		}
		return "silent"
	}
	want := func(ns, want string) {
		t.Helper()
		eventually(t, func(context.Context) error {
			if got := outcome(ns); got != want {
				return fmt.Errorf("%s: %s, want %s", ns, got, want)
			}
			return nil
		})
	}
	want("policies-prod", "rejected")
	dev := namespace(t, nil)
	want(dev, "silent")
	own := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: "policies-prod"}, Spec: *warning()}
	if err := shared.Client.Create(ctx, own); err != nil {
		t.Fatal(err)
	}
	want("policies-prod", "rejected") // a namespace's own policy cannot loosen the cluster's
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: dev}}
	if err := shared.Client.Patch(ctx, ns, client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"stage":"prod"}}}`))); err != nil {
		t.Fatal(err)
	}
	want(dev, "rejected")
	if err := shared.Client.Delete(ctx, policy); err != nil {
		t.Fatal(err)
	}
	want("policies-prod", "warned")
	want(dev, "silent")
}

func TestPlacement(t *testing.T) {
	ns := namespace(t, rejecting())
	onAMD64 := pod("amd64", shared.images.haproxy30)
	onAMD64.Spec.NodeSelector = map[string]string{"kubernetes.io/arch": "amd64"}
	if _, err := create(t, newPerson(t), ns, onAMD64); err != nil {
		t.Errorf("cannot land on arm64: %v", err)
	}
	t.Run("a policy for amd64", func(t *testing.T) {
		ns := namespace(t, &v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, Architectures: []v1alpha1.Architecture{"amd64"}})
		if _, err := create(t, newPerson(t), ns, pod("any", shared.images.haproxy30)); !denied(err) ||
			!strings.Contains(err.Error(), "calls on amd64") {
			t.Errorf("got %v", err)
		}
	})
}

func TestImages(t *testing.T) {
	strict := &v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionWarn}}
	ns := namespace(t, strict)
	// The subtests run on when this function has returned.
	t.Cleanup(shared.front.fail("/library/slow/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	for _, tt := range []struct {
		name   string
		image  string
		denied bool
		text   []string // parts of the warnings or the denial; empty: silence
	}{
		{"symlinked", shared.images.symlinked, true, []string{"/usr/lib/lb/bin calls capget"}},
		{"removed", shared.images.removed, false, nil},
		{"no-arm64", shared.images.amd64Only, false, nil},
		{"not-found", shared.images.missing, false, []string{"the registry has no such image"}},
		{"corrupt", shared.images.corrupt, false, []string{"the image is broken"}},
		{"oversized", shared.images.oversized, false, []string{"over one of capvet's limits", "more than 200 times its size"}},
		{"down", nobody + "/x:1", false, []string{"the registry could not be used"}},
		{"unauthorized", shared.images.private, false, []string{"accepted none of the Pod's credentials"}},
		{"slow", shared.front.Host() + "/library/slow/x:1", false, []string{"inspection for arm64 is pending"}},
		{"not-a-reference", "UPPER", false, []string{"the image is broken", "not an image reference"}},
		{"blocked", "169.254.169.254/x:1", false, []string{"does not connect to that registry"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			warnings, err := create(t, newPerson(t), ns, pod(tt.name, tt.image))
			text := strings.Join(warnings, "\n")
			if tt.denied != denied(err) || (err != nil && !tt.denied) {
				t.Fatalf("got %v", err)
			}
			if tt.denied {
				text = err.Error()
			}
			wantParts(t, text, tt.text...)
			if len(tt.text) == 0 && text != "" {
				t.Errorf("not silent: %s", text)
			}
			if strings.Contains(text, privatePassword) {
				t.Errorf("the text holds a password: %s", text)
			}
		})
	}
}

func TestPullSecrets(t *testing.T) {
	config := func(password string) map[string]string {
		return map[string]string{corev1.DockerConfigJsonKey: fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, shared.private.Host(),
			privateUser, password)}
	}
	ns := namespace(t, rejecting())
	for name, password := range map[string]string{"wrong": "nonsense", "right": privatePassword} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Type: corev1.SecretTypeDockerConfigJson,
			StringData: config(password)}
		if err := shared.Client.Create(ctx, secret); err != nil {
			t.Fatal(err)
		}
	}
	with := func(name string, secrets ...string) *corev1.Pod {
		p := pod(name, shared.images.private)
		for _, secret := range secrets {
			p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: secret})
		}
		return p
	}
	p := newPerson(t)
	// A missing and a refused secret do not keep others from being tried.
	if _, err := create(t, p, ns, with("of-the-pod", "missing", "wrong", "right")); !denied(err) {
		t.Errorf("the Pod's secrets: %v", err)
	}
	// The verdict is known by now, but not to a Pod that cannot pull the image.
	if warnings, err := create(t, p, ns, with("without", "wrong")); err != nil ||
		!strings.Contains(strings.Join(warnings, " "), "accepted none") {
		t.Errorf("a wrong secret: %v, %q", err, warnings)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "puller", Namespace: ns},
		ImagePullSecrets: []corev1.LocalObjectReference{{Name: "right"}}}
	if err := shared.Client.Create(ctx, account); err != nil {
		t.Fatal(err)
	}
	ofAccount := with("of-the-account")
	ofAccount.Spec.ServiceAccountName = "puller"
	eventually(t, func(context.Context) error { // the admission plugin's cache follows
		_, err := create(t, p, ns, ofAccount)
		if denied(err) {
			return nil
		}
		return fmt.Errorf("the ServiceAccount's secret: %w", err)
	})
	log, err := os.ReadFile(shared.webhook.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"nonsense", privatePassword,
		base64.StdEncoding.EncodeToString([]byte(privateUser + ":" + privatePassword))} {
		if bytes.Contains(log, []byte(password)) {
			t.Errorf("the webhook's log holds %q", password)
		}
	}
}

// kubectl runs the real one as the cluster's administrator.
func kubectl(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), shared.Kubectl, append([]string{"--kubeconfig", shared.Kubeconfig}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	return string(output), err
}

// TestKubectl compares kubectl's output.
func TestKubectl(t *testing.T) {
	warned, rejected := namespace(t, warning()), ""
	t.Run("reject", func(t *testing.T) { rejected = namespace(t, rejecting()) })
	output, err := kubectl(t, "", "run", "lb", "-n", warned, "--image", shared.images.haproxy30)
	if err != nil {
		t.Errorf("%v: %s", err, output)
	}
	wantParts(t, output, "Warning: container \"lb\"", "pod/lb created")
	output, err = kubectl(t, "", "run", "lb", "-n", rejected, "--image", shared.images.haproxy30)
	if err == nil {
		t.Error("not rejected")
	}
	wantParts(t, output, "Error from server", `admission webhook "pods.capvet.dev" denied the request`)

	samples, err := kubectl(t, "", "kustomize", shared.root+"/config/samples")
	if err != nil {
		t.Fatal(samples)
	}
	if output, err := kubectl(t, samples, "apply", "--dry-run=server", "-f", "-"); err != nil {
		t.Errorf("samples: %v: %s", err, output)
	}
	if output, err := kubectl(t, "", "explain", "clustercapsetpolicy.spec.action"); err != nil || !strings.Contains(output, "legacy") {
		t.Errorf("explain: %v: %s", err, output)
	}
	var list map[string]any
	output, err = kubectl(t, "", "get", "cp", "-n", warned, "-o", "yaml")
	if err != nil || yaml.Unmarshal([]byte(output), &list) != nil {
		t.Errorf("short name: %v: %s", err, output)
	}
}
