//go:build chart

package chart

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"

	"github.com/capvet/capvet/test/harness"
)

// ask sends a review of a Pod to a replica, as a network neighbour would.
func ask(ctx context.Context, address, namespace, image string, certificates ...tls.Certificate) (int, string, error) {
	config := &tls.Config{InsecureSkipVerify: true}
	if len(certificates) > 0 { // shown whatever authorities it is asked for
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificates[0], nil }
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	review := fmt.Sprintf(
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","namespace":%[1]q,
"kind":{"version":"v1","kind":"Pod"},"resource":{"version":"v1","resource":"pods"},
"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"lb","namespace":%[1]q},"spec":{"containers":[{"name":"lb","image":%[2]q}]}}}}`,
		namespace, image)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+"/validate-pods", strings.NewReader(review))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// TestClientsAndRegistries installs with values for the permitted clients and for
// registries: the API server gets answers and its neighbours get none, and images
// are read from the configured mirrors.
func TestClientsAndRegistries(t *testing.T) {
	host, image := pushHAProxy(t)
	b := startBalancer(t)
	createNamespaces(t, map[string]map[string]string{"asked": {"capvet.dev/mode": "warn"}, releaseNamespace: nil})
	authority, err := os.ReadFile(shared.cluster.ClientCA)
	if err != nil {
		t.Fatal(err)
	}
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: releaseNamespace, Name: "api-servers"},
		Data: map[string]string{"ca.crt": string(authority)}}
	if err := shared.cluster.Client.Create(t.Context(), configMap); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shared.cluster.Client.Delete(context.Background(), configMap) })
	values := t.TempDir() + "/values.yaml"
	mirrored := strings.Replace(image, host, "mirrored.example:5000", 1)
	denied := strings.Replace(image, host, "denied.example", 1)
	if err := os.WriteFile(values, fmt.Appendf(nil, `
webhook: {clients: {caConfigMap: api-servers, names: [another, %s]}}
limits: {max-connections: 8}
registries:
  allow: ["*.example:5000", "denied.*", "127.0.0.1:*"]
  deny: [denied.example]
  hosts:
    other.example: "[host.'https://nowhere.example']"
    "mirrored.example:5000": |
      [host."http://%s"]
        capabilities = ["pull", "resolve"]
`, harness.ClientName, host), 0o600); err != nil {
		t.Fatal(err)
	}
	profiles := freeAddresses(t, 1)[0]
	newRelease(b, host, "--values", values, "--set", "pprof=true", "--set", "extraArgs[0]=--pprof-address="+profiles).apply(t, "install")
	uninstallAfter(t)
	replica := startReplica(t, releaseNamespace, "capvet")
	replica.awaitReady(t)
	b.set(replica)

	eventually(t, judged("asked", image))
	eventually(t, judged("asked", mirrored))
	for what, image := range map[string]string{"deny": denied, "allow": "elsewhere.test/a:1"} {
		if warnings, err := admit(t.Context(), "asked", image); err != nil ||
			!strings.Contains(warnings, "an administrator does not permit the registry") {
			t.Errorf("%s: %q, %v", what, warnings, err)
		}
	}

	response, err := http.Get("http://" + profiles + "/debug/pprof/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("pprof=true: %s", response.Status)
	}

	stranger, key, err := cert.GenerateSelfSignedCertKey(harness.ClientName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	another, err := tls.X509KeyPair(stranger, key)
	if err != nil {
		t.Fatal(err)
	}
	if status, body, err := ask(t.Context(), replica.address, "asked", image); err != nil || status != http.StatusUnauthorized ||
		strings.Contains(body, "haproxy") {
		t.Errorf("without a certificate: %d %q %v", status, body, err)
	}
	if status, body, err := ask(t.Context(), replica.address, "asked", image, another); err == nil {
		t.Errorf("with another authority's certificate: %d %q", status, body)
	}
	// A neighbour at another address takes every connection, and keeps at it.
	neighbour := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}},
		Config: &tls.Config{InsecureSkipVerify: true}}
	crowd := 0
	for range 20 {
		for range 8 {
			if connection, err := neighbour.DialContext(t.Context(), "tcp", replica.address); err == nil {
				defer connection.Close()
				crowd++
			}
		}
		if err := judged("asked", image)(t.Context()); err != nil {
			t.Errorf("among %d connections of a neighbour's: %v", crowd, err)
		}
	}
	if crowd < 100 {
		t.Errorf("only %d connections", crowd)
	}
	if err := replica.ready(t.Context()); err != nil {
		t.Errorf("health is asked for without a certificate: %v", err)
	}
}
