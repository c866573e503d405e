//go:build integration

package integration

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestNetworkNeighbour: a client that can reach the webhook's port, but is not the
// API server, gets no verdict. All other tests show that the API server gets one.
func TestNetworkNeighbour(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/validate-pods", "/validate-workloads", "/validate-namespaces"} {
		review := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","namespace":"default"}}`
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, shared.webhook.Reviews+path, strings.NewReader(review))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized || string(text) != "show the API server's client certificate\n" {
			t.Errorf("%s: status %d: %s", path, response.StatusCode, text)
		}
	}
}
