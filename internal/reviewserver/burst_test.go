package reviewserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// apiServerClient returns a client as an API server's webhook client: it keeps few idle
// connections, and may offer HTTP/2.
func apiServerClient(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 25, ForceAttemptHTTP2: http2,
		TLSHandshakeTimeout: time.Minute,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestBursts: 1,000 reviews at a time, three times over, are all answered, although most
// connections are new each time and the previous ones are still about to close. So are more
// reviews at a time than there are places.
func TestBursts(t *testing.T) {
	for _, tt := range []struct {
		name         string
		places, each int
		http2        bool
	}{
		{"HTTP/1.1", DefaultConnections, 1000, false},
		{"HTTP/2 offered", DefaultConnections, 1000, true},
		{"more than places", 16, 32, false},
		{"many more than places", 16, 16 * waitingFactor, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := roomy()
			o.Connections, o.ReviewMemory = tt.places, DefaultReviewMemory
			s := newServer(t, o, func(context.Context, Request) admission.Response {
				time.Sleep(20 * time.Millisecond) // so that reviews are in progress together
				return admission.Allowed("")
			}).start(t)
			client := apiServerClient(t, tt.http2)
			var failed atomic.Int64
			var wait sync.WaitGroup
			for range tt.each {
				wait.Go(func() {
					for range 3 {
						if err := sendReview(client, s.address, strings.NewReader(aReview)); err != nil && failed.Add(1) == 1 {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			if n := failed.Load(); n > 0 {
				t.Errorf("%d of %d reviews failed", n, 3*tt.each)
			}
		})
	}
}

func sendReview(client *http.Client, address string, body io.Reader) error {
	response, err := client.Post("https://"+address+path+"?timeout=30s", "application/json", body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"allowed":true`))) {
		err = fmt.Errorf("%s: %.100s", response.Status, answer)
	}
	return err
}
