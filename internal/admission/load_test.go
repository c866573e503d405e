//go:build load

package admission

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/report"
)

// What the lane is run with.
const (
	loadPolicies    = 1000 // half of the cluster, half of namespaces
	loadNodes       = 5000
	loadConnections = 64
	loadRounds      = 3
	loadTime        = 4 * time.Second // of each contestant in each round
)

// remembered answers every image at once, as a scanner does that knows it.
type remembered struct{}

func (remembered) Read(_ context.Context, _ Puller, wanted Wanted) (report.Report, error) {
	if strings.Contains(wanted.Reference, "haproxy") {
		return legacyReport(), nil
	}
	return report.New(), nil
}

type nobody struct{}

func (nobody) Answered(Answer) {}

type noop struct{}

func (noop) Handle(context.Context, admission.Request) admission.Response {
	return admission.Allowed("")
}

// TestLoad measures warm admissions through TLS, capvet's beside those of a
// webhook that does nothing, in turns. It prints; nothing about time is asserted.
func TestLoad(t *testing.T) {
	logf.SetLogger(logr.Discard())
	c := newFakeCache()
	index, err := NewPolicyIndex(t.Context(), c, c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range loadPolicies / 2 {
		c.namespace(fmt.Sprintf("ns-%d", i), map[string]string{"team": fmt.Sprintf("team-%d", i)})
		c.add(&v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: fmt.Sprintf("ns-%d", i)}})
		c.add(&v1alpha1.ClusterCapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p-%d", i)}, Spec: v1alpha1.ClusterCapsetPolicySpec{
			NamespaceSelector: metav1.LabelSelector{MatchLabels: map[string]string{"team": fmt.Sprintf("team-%d", i)}}}})
	}
	c.namespace("free", nil)
	nodes := placement.NewNodes()
	for i := range loadNodes {
		nodes.Set(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{
			"kubernetes.io/arch": []string{"amd64", "arm64"}[i%2], "zone": fmt.Sprintf("zone-%d", i%3)}}})
	}
	handler := &Handler{Policies: index, Nodes: nodes, Images: remembered{}, Observer: nobody{}, Now: time.Now}
	mux := http.NewServeMux()
	mux.Handle("/noop", &admission.Webhook{Handler: noop{}})
	mux.Handle("/capvet", WithDeadline(NewServer(DefaultReviewMemory, logr.Discard()).Serve(handler)))
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	httpClient := server.Client()
	httpClient.Transport.(*http.Transport).MaxIdleConnsPerHost = loadConnections

	contestants := []struct{ name, path, namespace, image string }{
		{"no-op", "/noop", "ns-%d", "web"},
		{"capvet: no policy", "/capvet", "free", "web"},
		{"capvet: clean", "/capvet", "ns-%d", "web"},
		{"capvet: warned", "/capvet", "ns-%d", "haproxy:3.0"},
	}
	latencies := make([][]time.Duration, len(contestants))
	spent := make([]time.Duration, len(contestants))
	for range loadRounds {
		for i, contestant := range contestants {
			start := time.Now()
			latencies[i] = append(latencies[i], hammer(t, httpClient, server.URL+contestant.path+"?timeout=10s", contestant.namespace, contestant.image)...)
			spent[i] += time.Since(start)
		}
	}
	t.Logf("%-20s %10s %10s %10s", "", "reviews/s", "p50", "p99")
	for i, contestant := range contestants {
		slices.Sort(latencies[i])
		n := len(latencies[i])
		t.Logf("%-20s %10.0f %10s %10s", contestant.name, float64(n)/spent[i].Seconds(),
			latencies[i][n/2].Round(10*time.Microsecond), latencies[i][n*99/100].Round(10*time.Microsecond))
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	t.Logf("heap in use with %d policies, %d nodes and %d namespaces, the client's included: %d MiB", loadPolicies, loadNodes, len(c.namespaces), memory.HeapInuse>>20)
}

// hammer sends reviews over loadConnections connections for loadTime and returns
// how long each took.
func hammer(t *testing.T, c *http.Client, url, namespace, image string) []time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	var wait sync.WaitGroup
	end := time.Now().Add(loadTime)
	for worker := range loadConnections {
		wait.Go(func() {
			name := namespace
			if strings.Contains(namespace, "%d") {
				name = fmt.Sprintf(namespace, worker)
			}
			body := reviewOf(t, name, image)
			var own []time.Duration
			for time.Now().Before(end) {
				start := time.Now()
				response, err := c.Post(url, "application/json", bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"allowed":true`)) {
					t.Errorf("%v: %d %s", err, response.StatusCode, answer)
					return
				}
				if warned := bytes.Contains(answer, []byte("makes legacy")); warned != strings.Contains(image, "haproxy") {
					t.Errorf("%s was answered %s", image, answer)
					return
				}
				own = append(own, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	wait.Wait()
	return all
}

// reviewOf is the review of a Pod as large as they usually are.
func reviewOf(t *testing.T, namespace, image string) []byte {
	p := pod(image)
	p.Namespace = namespace
	p.Labels = map[string]string{"app": "lb", "pod-template-hash": "5d4f8c7b9"}
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c0\"}":{".":{},"f:image":{},"f:name":{}}}}}`)}}
	for i := range 10 {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", i), Value: "some value of a usual length"})
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	review := admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &admissionv1.AdmissionRequest{
		UID: types.UID("00000000-0000-0000-0000-000000000000"), Operation: admissionv1.Create, Namespace: namespace, Name: "p",
		Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
	}}
	review.Request.Object.Raw = raw
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
