//go:build load

package admission

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The size of the load.
const (
	loadPolicies    = 1000 // half of the cluster, half of namespaces
	loadNodes       = 5000
	loadConnections = 64
	loadRounds      = 12
	loadTime        = time.Second // of each contestant in each round
)

// TestLoad measures warm admissions through TLS: capvet's, those of a
// controller-runtime webhook that does nothing, and those of pod-security-admission's
// own webhook, each a process of its own, in turns. It prints; nothing about time
// is asserted.
func TestLoad(t *testing.T) {
	files := newLoadFiles(t)
	noop, capvet, psa := files.serve(t, "noop"), files.serve(t, "capvet"), files.servePodSecurity(t)
	contestants := []*contestant{
		{name: "no-op", server: noop, namespace: "ns-%d", image: "web"},
		{name: "capvet: no policy", server: capvet, namespace: "free", image: "web"},
		{name: "capvet: clean", server: capvet, namespace: "ns-%d", image: "web"},
		{name: "capvet: warned", server: capvet, namespace: "ns-%d", image: "haproxy:3.0", warning: "makes legacy"},
		{name: "PSA: privileged", server: psa, namespace: "free", image: "web"},
		{name: "PSA: allowed", server: psa, namespace: "ns-%d", image: "web"},
		{name: "PSA: warned", server: psa, namespace: "warn-%d", image: "web", warning: "would violate PodSecurity"},
	}
	for _, c := range contestants { // warm
		c.hammer(t, files.roots, time.Second/2)
		c.latencies, c.spent, c.cpu = nil, 0, 0
	}
	for range loadRounds {
		for _, c := range contestants {
			c.hammer(t, files.roots, loadTime)
		}
	}
	t.Logf("%-20s %10s %10s %10s %8s %12s", "", "reviews/s", "p50", "p99", "of no-op", "CPU/review")
	var first float64
	for _, c := range contestants {
		slices.Sort(c.latencies)
		n := len(c.latencies)
		rate := float64(n) / c.spent.Seconds()
		if first == 0 {
			first = rate
		}
		t.Logf("%-20s %10.0f %10s %10s %8.2f %12s", c.name, rate, c.latencies[n/2].Round(10*time.Microsecond),
			c.latencies[n*99/100].Round(10*time.Microsecond), rate/first, (c.cpu / time.Duration(n)).Round(time.Microsecond))
	}
	for _, s := range []*loadServer{noop, capvet, psa} {
		t.Logf("peak memory of %s: %d MiB", s.name, s.peak(t)>>20)
	}
	t.Logf("%d policies, %d nodes, %d connections", loadPolicies, loadNodes, loadConnections)
}

// contestant is one kind of review to one server.
type contestant struct {
	name             string
	server           *loadServer
	namespace, image string
	warning          string // the expected warning; empty if there is none

	latencies  []time.Duration
	spent, cpu time.Duration
}

// hammer sends reviews over loadConnections connections for a time. It speaks
// HTTP/1.1, as API servers do to webhooks, with as little work as possible, so that
// the server is measured. API servers keep connections, so handshakes are left out.
func (c *contestant) hammer(t *testing.T, roots *x509.CertPool, during time.Duration) {
	connections := make([]net.Conn, loadConnections)
	for i := range connections {
		connection, err := tls.Dial("tcp", c.server.address, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		defer connection.Close()
		connections[i] = connection
	}
	start, cpu := time.Now(), c.server.cpu(t)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for worker, connection := range connections {
		wait.Go(func() {
			own, err := c.send(worker, connection, start.Add(during))
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			c.latencies = append(c.latencies, own...)
		})
	}
	wait.Wait()
	c.spent += time.Since(start)
	c.cpu += c.server.cpu(t) - cpu
	if t.Failed() {
		t.FailNow()
	}
}

// send sends reviews over one connection and returns how long each took.
func (c *contestant) send(worker int, connection net.Conn, end time.Time) ([]time.Duration, error) {
	namespace := c.namespace
	if strings.Contains(namespace, "%d") {
		namespace = fmt.Sprintf(namespace, worker)
	}
	body, err := reviewOf(namespace, c.image)
	if err != nil {
		return nil, err
	}
	const header = "POST %s?timeout=10s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
	request := append(fmt.Appendf(nil, header, c.server.path, c.server.address, len(body)), body...)
	reader := bufio.NewReader(connection)
	var own []time.Duration
	for time.Now().Before(end) {
		start := time.Now()
		if _, err := connection.Write(request); err != nil {
			return nil, err
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return nil, err
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"allowed":true`)) {
			return nil, fmt.Errorf("%w: %d %s", err, response.StatusCode, answer)
		}
		own = append(own, time.Since(start))
		if warned := bytes.Contains(answer, []byte(`"warnings":`)); warned != (c.warning != "") || !bytes.Contains(answer, []byte(c.warning)) {
			return nil, fmt.Errorf("answered %s", answer)
		}
	}
	return own, nil
}

// cpu is the time that the server has spent on processors.
func (s *loadServer) cpu(t *testing.T) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(s.process.Pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on
	var ticks int
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// peak is the most memory, in bytes, that the server has held.
func (s *loadServer) peak(t *testing.T) int64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(s.process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// reviewOf is the review of a Pod as large as they usually are.
func reviewOf(namespace, image string) ([]byte, error) {
	p := pod(image)
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.Namespace = namespace
	p.Labels = map[string]string{"app": "lb", "pod-template-hash": "5d4f8c7b9"}
	fields := `{"f:metadata":{"f:labels":{".":{},"f:app":{}}},` +
		`"f:spec":{"f:containers":{"k:{\"name\":\"c0\"}":{".":{},"f:image":{},"f:name":{}}}}}`
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update",
		APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}}
	container := &p.Spec.Containers[0]
	for i := range 10 {
		container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", i), Value: "some value of a usual length"})
	}
	const volume = "kube-api-access-x7k2p"
	container.VolumeMounts = []corev1.VolumeMount{{Name: volume, ReadOnly: true, MountPath: "/var/run/secrets/kubernetes.io/serviceaccount"}}
	authority := &corev1.ConfigMapProjection{Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}
	authority.Name = "kube-root-ca.crt"
	token := &corev1.ServiceAccountTokenProjection{Path: "token"}
	p.Spec.Volumes = []corev1.Volume{{Name: volume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: token}, {ConfigMap: authority}},
	}}}}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	kind, resource := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	review := admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{
		UID: types.UID("00000000-0000-0000-0000-000000000000"), Operation: admissionv1.Create, Namespace: namespace, Name: "p",
		Kind: kind, RequestKind: &kind, Resource: resource, RequestResource: &resource,
		UserInfo: authenticationv1.UserInfo{
			Username: "system:serviceaccount:kube-system:replicaset-controller", UID: "0b1c6e52-3f55-4f21-9a3b-0d5f3a8d2c11",
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
		},
	}}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	review.Request.Object.Raw = raw
	review.Request.Options.Raw = []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}`)
	return json.Marshal(review)
}
