//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/capvet/capvet/test/harness"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestEndpoints(t *testing.T) {
	ns := namespace(t, warning())
	if _, err := create(t, newPerson(t), ns, pod("legacy", shared.images.haproxy30)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(t, shared.webhook.Health+path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	status, body := get(t, shared.webhook.Metrics+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("metrics: %d", status)
	}
	wantParts(t, body,
		`capvet_admission_requests_total{dry_run="false",outcome="warned"}`,
		`capvet_findings_total{abi="v1",action="Warn",dry_run="false",product="haproxy"}`,
		`capvet_admission_duration_seconds_bucket{outcome="warned"`,
		`capvet_scan_duration_seconds_count{result="ok"}`,
		`capvet_scan_shared_total`,
		`capvet_image_failures_total{class="registry",dry_run="true"}`,
	)
	if strings.Contains(body, "library/haproxy") || strings.Contains(body, ns) {
		t.Error("a metric's label holds the name of an image or a namespace")
	}
}

// TestDrain: a second webhook takes over the configuration, is asked for
// something slow, and is told to end meanwhile. The answer still comes, it is
// no longer ready at once, and it ends in order.
func TestDrain(t *testing.T) {
	w, err := shared.StartWebhook(t.Context(), shared.root, harness.WebhookOptions{Binary: shared.binary, Args: shared.webhookArgs()})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			_ = w.Stop()
		}
		// The shared webhook takes the configuration back.
		if err := shared.Repoint(context.Background(), shared.root, shared.webhook); err != nil {
			t.Error(err)
		}
	}()
	ns := namespace(t, warning())
	asked := make(chan struct{}, 16)
	restore := shared.front.fail("/library/drain/", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	})
	defer restore()
	answered := make(chan error, 1)
	p := newPerson(t)
	go func() {
		warnings, err := create(t, p, ns, pod("slow", shared.front.Host()+"/library/drain/x:1"))
		if err == nil && !strings.Contains(strings.Join(warnings, " "), "pending") {
			err = fmt.Errorf("warnings: %q", warnings)
		}
		answered <- err
	}()
	<-asked
	if err := w.Terminate(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func(context.Context) error {
		if status, _ := get(t, w.Health+"/readyz"); status == http.StatusOK {
			return fmt.Errorf("still ready")
		}
		return nil
	})
	if err := <-answered; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.Wait(ctx); err != nil {
		t.Errorf("the process ended with %v", err)
	}
	stopped = true
}

// TestWebhookDown: without capvet Pods start.
func TestWebhookDown(t *testing.T) {
	w, err := shared.StartWebhook(t.Context(), shared.root, harness.WebhookOptions{Binary: shared.binary, Args: shared.webhookArgs()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := shared.Repoint(context.Background(), shared.root, shared.webhook); err != nil {
			t.Error(err)
		}
	}()
	ns := namespace(t, rejecting())
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := create(t, newPerson(t), ns, pod("legacy", shared.images.haproxy30)); err != nil {
		t.Errorf("got %v", err)
	}
}
