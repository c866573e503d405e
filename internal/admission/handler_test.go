package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/judge"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/policyspec"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/reviewserver"
)

// reader is an ImageReader with answers by reference; a reference without an answer
// fails the way a registry does.
type reader struct {
	answers map[string]func(ctx context.Context) (report.Report, error)

	mu     sync.Mutex
	reads  []string
	wanted []judge.Wanted
}

func (r *reader) Read(ctx context.Context, puller Puller, wanted judge.Wanted) (report.Report, error) {
	r.mu.Lock()
	r.reads = append(r.reads, wanted.Reference+" "+wanted.Platform+" "+fmt.Sprint(puller))
	r.wanted = append(r.wanted, wanted)
	r.mu.Unlock()
	answer, ok := r.answers[wanted.Reference]
	if !ok {
		return report.Report{}, classed(report.FailureNotFound)
	}
	return answer(ctx)
}

type classed report.FailureClass

func (c classed) Error() string                     { return "failed: " + string(c) }
func (c classed) FailureClass() report.FailureClass { return report.FailureClass(c) }

func legacyReport() report.Report {
	r := report.New()
	r.Image = "example.com/haproxy@sha256:00"
	r.Binaries = append(r.Binaries, haproxy30())
	return r
}

func unreadReport() report.Report {
	r := report.New()
	r.Complete, r.Gaps = false, []report.Gap{{Where: "unread", Reason: report.GapNotRead, Detail: "no sign"}}
	return r
}

func haproxy30() report.Binary {
	return report.Binary{
		Path: "/usr/local/sbin/haproxy", Machine: "arm64",
		Product: &report.Product{Name: "haproxy", Version: "3.0.11", Basis: "symbol"},
		Capset: report.Capset{ABI: report.ABIV1, Basis: report.BasisCode, Calls: []report.Call{{
			Syscall: "capget", ABI: report.ABIV1, Function: "prepare_caps_from_permitted_set", Address: "0x12fef0", Via: "syscall"}}},
		Trigger: &report.Trigger{When: report.WhenStart, Why: "runs at every start as a non-root user"},
		Advice:  "Upgrade.",
	}
}

func answers() map[string]func(context.Context) (report.Report, error) {
	return map[string]func(context.Context) (report.Report, error){
		"legacy": func(context.Context) (report.Report, error) { return legacyReport(), nil },
		"clean":  func(context.Context) (report.Report, error) { return report.New(), nil },
		"unread": func(context.Context) (report.Report, error) { return unreadReport(), nil },
		"panics": func(context.Context) (report.Report, error) { panic("out of cheese") },
		"broken": func(context.Context) (report.Report, error) { return report.Report{}, errors.New("no class") },
		"hangs": func(ctx context.Context) (report.Report, error) {
			<-ctx.Done()
			return report.Report{}, ctx.Err()
		},
	}
}

type source struct {
	policies []policy.Policy
	broken   []string
	err      error
	panics   bool
}

func (s source) PoliciesFor(context.Context, string) ([]policy.Policy, []string, error) {
	if s.panics {
		panic("no policies")
	}
	return s.policies, s.broken, s.err
}

type observer struct{ answers []Answer }

func (o *observer) Answered(a Answer) { o.answers = append(o.answers, a) }

func clusterPolicy(t *testing.T, spec v1alpha1.CapsetPolicySpec) policy.Policy {
	t.Helper()
	p, err := policyspec.CompileCluster(&v1alpha1.ClusterCapsetPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: v1alpha1.ClusterCapsetPolicySpec{CapsetPolicySpec: spec}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func pod(images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

func encoded(t *testing.T, object any) []byte {
	t.Helper()
	value, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func request(t *testing.T, operation admissionv1.Operation, subresource string, old, current *corev1.Pod) reviewserver.Request {
	t.Helper()
	return reviewserver.Request{
		Operation: operation, Namespace: "n", SubResource: subresource,
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Object:   encoded(t, current), OldObject: encoded(t, old),
	}
}

// handleTest is a request, and the expected answer.
type handleTest struct {
	name        string
	source      source
	operation   admissionv1.Operation
	subresource string
	old, pod    *corev1.Pod
	allowed     bool
	warned      bool
	outcome     Outcome
	reads       int
}

func handleTests(t *testing.T) []handleTest {
	warn := policySource(t, v1alpha1.CapsetPolicySpec{})
	reject := policySource(t, v1alpha1.CapsetPolicySpec{
		Action: v1alpha1.ActionReject, OnScanError: v1alpha1.ScanErrorActions{Default: v1alpha1.ActionReject, NotFound: v1alpha1.ActionIgnore},
	})
	audit := policySource(t, v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionAudit})
	exempting := policySource(t, v1alpha1.CapsetPolicySpec{
		Exemptions: []v1alpha1.Exemption{{Images: []string{"docker.io/library/legacy:*"}, Reason: "r"}}})
	const create, update = admissionv1.Create, admissionv1.Update
	deleting := pod("legacy")
	deleting.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	mirror := pod("legacy")
	mirror.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	windows := pod("legacy")
	windows.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
	amd64 := pod("legacy")
	amd64.Spec.NodeSelector = map[string]string{"kubernetes.io/arch": "amd64"}
	withInit := pod("clean")
	withInit.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: "legacy"}}
	withEphemeral := pod("clean")
	debug := corev1.EphemeralContainerCommon{Name: "debug", Image: "legacy"}
	withEphemeral.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: debug}}

	return []handleTest{
		{name: "no policy", source: source{}, operation: create, pod: pod("legacy"), allowed: true, outcome: OutcomeSkipped},
		{name: "clean", source: warn, operation: create, pod: pod("clean"), allowed: true, outcome: OutcomeClean, reads: 1},
		{name: "warn", source: warn, operation: create, pod: pod("legacy"), allowed: true, warned: true, outcome: OutcomeWarned, reads: 1},
		{name: "reject", source: reject, operation: create, pod: pod("clean", "legacy"), outcome: OutcomeRejected, reads: 2},
		{name: "audit", source: audit, operation: create, pod: pod("legacy"), allowed: true, outcome: OutcomeAudited, reads: 1},
		{
			name: "one read for one image", source: warn, operation: create,
			pod: pod("legacy", "legacy"), allowed: true, warned: true, outcome: OutcomeWarned, reads: 1,
		},
		{name: "exempt is not read", source: exempting, operation: create, pod: pod("legacy"), allowed: true, outcome: OutcomeClean},
		{name: "init container", source: reject, operation: create, pod: withInit, outcome: OutcomeRejected, reads: 2},
		{
			name: "ephemeral container", source: reject, operation: update,
			subresource: "ephemeralcontainers", old: pod("clean"), pod: withEphemeral, outcome: OutcomeRejected, reads: 1,
		},
		{name: "image updated", source: reject, operation: update, old: pod("clean"), pod: pod("legacy"), outcome: OutcomeRejected, reads: 1},
		{
			name: "unchanged update", source: reject, operation: update,
			old: pod("legacy"), pod: pod("legacy"), allowed: true, outcome: OutcomeSkipped,
		},
		{name: "deletion", source: reject, operation: update, old: pod("clean"), pod: deleting, allowed: true, outcome: OutcomeSkipped},
		{name: "DELETE", source: reject, operation: admissionv1.Delete, old: pod("legacy"), allowed: true, outcome: OutcomeSkipped},
		{
			name: "other subresource", source: reject, operation: update,
			subresource: "status", old: pod("clean"), pod: pod("legacy"), allowed: true, outcome: OutcomeSkipped,
		},
		{name: "mirror Pod", source: reject, operation: create, pod: mirror, allowed: true, outcome: OutcomeSkipped},
		{name: "Windows Pod", source: reject, operation: create, pod: windows, allowed: true, outcome: OutcomeSkipped},
		{name: "cannot land on arm64", source: reject, operation: create, pod: amd64, allowed: true, outcome: OutcomeSkipped},
		{name: "scan error by class", source: reject, operation: create, pod: pod("nowhere"), allowed: true, outcome: OutcomeClean, reads: 1},
		{name: "scan error without class", source: reject, operation: create, pod: pod("broken"), outcome: OutcomeRejected, reads: 1},
		{
			name: "reader panics, warn", source: warn, operation: create,
			pod: pod("panics"), allowed: true, warned: true, outcome: OutcomeWarned, reads: 1,
		},
		{name: "reader panics, reject", source: reject, operation: create, pod: pod("panics"), outcome: OutcomeRejected, reads: 1},
		{
			name: "time runs out, warn", source: warn, operation: create,
			pod: pod("hangs"), allowed: true, warned: true, outcome: OutcomeWarned, reads: 1,
		},
		{name: "time runs out, reject", source: reject, operation: create, pod: pod("hangs"), outcome: OutcomeRejected, reads: 1},
		{
			name: "not read is not clean", source: reject, operation: create,
			pod: pod("unread", "clean"), allowed: true, outcome: OutcomeUnread, reads: 2,
		},
		{
			name: "policies unknown", source: source{err: errors.New("not synced")}, operation: create, pod: pod("legacy"),
			allowed: true, warned: true, outcome: OutcomeError,
		},
		{
			name: "policies panic", source: source{panics: true}, operation: create, pod: pod("legacy"), allowed: true, warned: true,
			outcome: OutcomeError,
		},
		{
			name: "broken policy is said", source: source{broken: []string{"ClusterCapsetPolicy/x is not applied"}}, operation: create,
			pod: pod("legacy"), allowed: true, warned: true, outcome: OutcomeSkipped,
		},
	}
}

func TestHandle(t *testing.T) {
	for _, tt := range handleTests(t) {
		t.Run(tt.name, func(t *testing.T) {
			images, seen := &reader{answers: answers()}, &observer{}
			h := &Handler{Nodes: placement.NewNodes(), Policies: tt.source, Images: images, Observer: seen, Now: time.Now}
			ctx := t.Context()
			if tt.pod != nil {
				for _, c := range tt.pod.Spec.Containers {
					if c.Image == "hangs" {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
						defer cancel()
					}
				}
			}
			got := h.Handle(ctx, request(t, tt.operation, tt.subresource, tt.old, tt.pod))
			if got.Allowed != tt.allowed {
				t.Errorf("allowed is %v: %v", got.Allowed, got.Result)
			}
			if (len(got.Warnings) > 0) != tt.warned {
				t.Errorf("warnings: %q", got.Warnings)
			}
			if len(seen.answers) != 1 || seen.answers[0].Outcome != tt.outcome {
				t.Errorf("observed %+v, want one answer %s", seen.answers, tt.outcome)
			}
			images.mu.Lock()
			defer images.mu.Unlock()
			if len(images.reads) != tt.reads {
				t.Errorf("reads: %q, want %d", images.reads, tt.reads)
			}
		})
	}
}

func TestHandleUnreadableObject(t *testing.T) {
	seen := &observer{}
	h := &Handler{Nodes: placement.NewNodes(), Policies: source{policies: []policy.Policy{clusterPolicy(t,
		v1alpha1.CapsetPolicySpec{})}}, Images: &reader{}, Observer: seen, Now: time.Now}
	body := `{"apiVersion":"admission.k8s.io/v1","request":{"uid":"u","resource":{"version":"v1","resource":"pods"},` +
		`"operation":"CREATE","object":{"spec":[]}}}`
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	server, err := reviewserver.New(reviewserver.Options{Registry: prometheus.NewRegistry(), Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	server.Handle("/", h)
	server.WebhookMux().ServeHTTP(w, r)
	if got := w.Body.String(); !strings.Contains(got, `"uid":"u"`) || !strings.Contains(got, `"allowed":true`) ||
		!strings.Contains(got, `"warnings":["capvet failed on this request`) || !strings.Contains(got, `"error":"capvet failed on this request`) {
		t.Errorf("got %s", got)
	}
	if len(seen.answers) != 1 || seen.answers[0].Outcome != OutcomeError {
		t.Errorf("observed %+v", seen.answers)
	}
}

// TestInternalErrorsAreForTheLog: an error between capvet and the API server may hold
// details that are not for the Pod's author.
func TestInternalErrorsAreForTheLog(t *testing.T) {
	for _, action := range []v1alpha1.Action{v1alpha1.ActionWarn, v1alpha1.ActionReject} {
		policies := []policy.Policy{clusterPolicy(t, v1alpha1.CapsetPolicySpec{OnScanError: v1alpha1.ScanErrorActions{Default: action}})}
		var logged strings.Builder
		log := funcr.New(func(_, line string) { logged.WriteString(line) }, funcr.Options{})
		h := &Handler{Nodes: placement.NewNodes(), Policies: source{policies: policies}, Images: &reader{answers: answers()},
			Observer: &observer{}, Now: time.Now}
		got := h.Handle(logf.IntoContext(t.Context(), log), request(t, admissionv1.Create, "", nil, pod("broken")))
		said := fmt.Sprintf("%+v", got.AdmissionResponse)
		if got.Result != nil {
			said += got.Result.Message
		}
		if strings.Contains(said, "no class") || !strings.Contains(said, "its log has the details") {
			t.Errorf("%s: the answer is %s", action, said)
		}
		if !strings.Contains(logged.String(), "no class") {
			t.Errorf("%s: the log has %s", action, logged.String())
		}
	}
}

// TestHandlePassesThePuller: the reader gets the fields in which a kubelet finds credentials.
func TestHandlePassesThePuller(t *testing.T) {
	images := &reader{answers: answers()}
	h := &Handler{Nodes: placement.NewNodes(), Policies: source{policies: []policy.Policy{clusterPolicy(t,
		v1alpha1.CapsetPolicySpec{})}}, Images: images, Observer: &observer{}, Now: time.Now}
	p := pod("clean")
	p.Spec.ServiceAccountName = "sa"
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "s1"}, {Name: "s2"}}
	h.Handle(t.Context(), request(t, admissionv1.Create, "", nil, p))
	if diff := cmp.Diff([]string{"clean linux/arm64 {n sa [s1 s2]}"}, images.reads); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHandlePassesTheScope: how much policies want read, and the words of all
// containers that run the image.
func TestHandlePassesTheScope(t *testing.T) {
	p := pod("clean", "clean", "clean")
	p.Spec.Containers[0].Command, p.Spec.Containers[0].Args = []string{"a"}, []string{"b"}
	p.Spec.Containers[1].Args = []string{"c"}
	for images, all := range map[v1alpha1.ImageSelection]bool{"": false, v1alpha1.ImagesHinted: false, v1alpha1.ImagesAll: true} {
		seen := &reader{answers: answers()}
		h := &Handler{Nodes: placement.NewNodes(), Policies: source{policies: []policy.Policy{clusterPolicy(t,
			v1alpha1.CapsetPolicySpec{Images: images})}}, Images: seen, Observer: &observer{}, Now: time.Now}
		h.Handle(t.Context(), request(t, admissionv1.Create, "", nil, p))
		want := []judge.Wanted{{Reference: "clean", Platform: "linux/arm64", Scope: policy.Scope{AllImages: all}, Words: []string{"a", "b", "c"}}}
		if diff := cmp.Diff(want, seen.wanted); diff != "" {
			t.Errorf("images %q (-want +got):\n%s", images, diff)
		}
	}
	seen := &reader{answers: answers()}
	h := &Handler{Nodes: placement.NewNodes(), Policies: source{policies: []policy.Policy{clusterPolicy(t,
		v1alpha1.CapsetPolicySpec{Binaries: v1alpha1.BinariesAll})}}, Images: seen, Observer: &observer{}, Now: time.Now}
	h.Handle(t.Context(), request(t, admissionv1.Create, "", nil, p))
	if len(seen.wanted) != 1 || seen.wanted[0].Scope != (policy.Scope{AllBinaries: true}) {
		t.Errorf("binaries All: %+v", seen.wanted)
	}
}

// TestHandleWorkloads: the answers for workloads, and the credentials for their images.
func TestHandleWorkloads(t *testing.T) {
	deployment := func(image string, replicas int32) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "n"}}
		d.Spec.Replicas, d.Spec.Template.Spec = &replicas, pod(image).Spec
		return d
	}
	rejecting := func(workloads v1alpha1.WorkloadAction) v1alpha1.CapsetPolicySpec {
		return v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject, Workloads: workloads}
	}
	controlled := true
	owned := deployment("legacy", 1)
	owned.OwnerReferences = []metav1.OwnerReference{{Kind: "Rollout", Name: "r", Controller: &controlled}}
	for _, tt := range []struct {
		name         string
		spec         v1alpha1.CapsetPolicySpec
		old, current *appsv1.Deployment
		allowed      bool
		outcome      Outcome
		text         string
	}{
		{
			name: "warn", spec: v1alpha1.CapsetPolicySpec{}, current: deployment("legacy", 1), allowed: true, outcome: OutcomeWarned,
			text: "makes legacy",
		},
		{
			name: "its Pods are rejected", spec: rejecting(""), current: deployment("legacy", 1), allowed: true, outcome: OutcomeWarned,
			text: "Pods of this template will be rejected by ClusterCapsetPolicy/p",
		},
		{
			name: "nothing is said", spec: rejecting(v1alpha1.WorkloadIgnore), current: deployment("legacy", 1), allowed: true,
			outcome: OutcomeClean,
		},
		{name: "rejected", spec: rejecting(v1alpha1.WorkloadReject), current: deployment("legacy", 1), outcome: OutcomeRejected},
		{name: "clean", spec: rejecting(v1alpha1.WorkloadReject), current: deployment("clean", 1), allowed: true, outcome: OutcomeClean},
		{
			name: "scaled", spec: rejecting(v1alpha1.WorkloadReject), old: deployment("legacy", 1), current: deployment("legacy", 2),
			allowed: true, outcome: OutcomeSkipped,
		},
		{
			name: "updated", spec: rejecting(v1alpha1.WorkloadReject), old: deployment("clean", 1), current: deployment("legacy", 1),
			outcome: OutcomeRejected,
		},
		{name: "a controller's", spec: rejecting(v1alpha1.WorkloadReject), current: owned, allowed: true, outcome: OutcomeSkipped},
	} {
		t.Run(tt.name, func(t *testing.T) {
			images, seen := &reader{answers: answers()}, &observer{}
			h := &Handler{Nodes: placement.NewNodes(), Policies: policySource(t, tt.spec),
				Images: images, Observer: seen, Now: time.Now}
			req := request(t, admissionv1.Create, "", nil, nil)
			req.Resource = metav1.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
			req.Object = encoded(t, tt.current)
			if tt.old != nil {
				req.Operation = admissionv1.Update
				req.OldObject = encoded(t, tt.old)
			}
			got := h.Handle(t.Context(), req)
			if got.Allowed != tt.allowed || len(seen.answers) != 1 || seen.answers[0].Outcome != tt.outcome {
				t.Errorf("got %+v, observed %+v", got, seen.answers)
			}
			if text := strings.Join(got.Warnings, "\n"); !strings.Contains(text, tt.text) || (tt.text == "") != (text == "") {
				t.Errorf("warnings: %q", got.Warnings)
			}
			for _, read := range images.reads {
				if !strings.Contains(read, "{n default []}") {
					t.Errorf("read as %s", read)
				}
			}
		})
	}
}

// TestHandleBoundsImages: a Pod of thousands of containers costs no more than one
// of some hundred, and is not called clean.
func TestHandleBoundsImages(t *testing.T) {
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("image-%d", i))
	}
	known := map[string]func(context.Context) (report.Report, error){}
	for _, image := range many {
		known[image] = func(context.Context) (report.Report, error) { return report.New(), nil }
	}
	images, seen := &reader{answers: known}, &observer{}
	rejecting := v1alpha1.CapsetPolicySpec{OnScanError: v1alpha1.ScanErrorActions{TooLarge: v1alpha1.ActionReject}}
	h := &Handler{Nodes: placement.NewNodes(), Policies: policySource(t, rejecting), Images: images, Observer: seen, Now: time.Now}
	got := h.Handle(t.Context(), request(t, admissionv1.Create, "", nil, pod(many...)))
	if got.Allowed || !strings.Contains(got.Result.Message, "more than 255 images") {
		t.Errorf("got %+v", got)
	}
	if len(images.reads) != judge.MaxImages-1 {
		t.Errorf("%d images were read", len(images.reads))
	}
}
