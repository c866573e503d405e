package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/capvet/capvet/test/process"
)

// Webhook is a running webhook process.
type Webhook struct {
	*process.Process
	// Reviews, Health and Metrics are the base URLs of the reviews, /readyz and
	// /metrics.
	Reviews, Health, Metrics string
	// Certificates is the folder with the tls.crt and tls.key that it serves with.
	Certificates string

	caBundle []byte
}

// WebhookOptions are the options of StartWebhook.
type WebhookOptions struct {
	// Binary is the path of the webhook's executable.
	Binary string
	// Args follow the harness's own arguments.
	Args []string
	// Env is added to the environment.
	Env []string
}

// webhookReadyTimeout is how long a webhook may take to be ready.
const webhookReadyTimeout = time.Minute

// StartWebhook installs the shipped manifests of the repository at root and
// starts a webhook behind them, with the ServiceAccount of its Deployment. It
// returns when /readyz succeeds.
func (c *ControlPlane) StartWebhook(ctx context.Context, root string, o WebhookOptions) (*Webhook, error) {
	const namespace, serviceAccount = "capvet-system", "capvet"
	dir, err := os.MkdirTemp(c.dir, "webhook-")
	if err != nil {
		return nil, err
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return nil, fmt.Errorf("making a serving certificate: %w", err)
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), certificate, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600),
	); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	address := func(i int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i])) }
	if err := c.Install(ctx, root, "https://"+address(0), certificate); err != nil {
		return nil, err
	}
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, namespace, serviceAccount)
	if err != nil {
		return nil, err
	}
	w := &Webhook{
		caBundle: certificate,
		Reviews:  "https://" + address(0), Health: "http://" + address(1), Metrics: "http://" + address(2), Certificates: dir,
	}
	command := exec.Command(o.Binary, append([]string{
		"--kubeconfig=" + kubeconfig,
		"--cert-dir=" + dir,
		"--host=127.0.0.1", "--port=" + strconv.Itoa(ports[0]),
		"--health-address=" + address(1),
		"--metrics-address=" + address(2),
		"--shutdown-delay=1s",
	}, o.Args...)...)
	command.Env = append(os.Environ(), o.Env...)
	if w.Process, err = process.Start(command, filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	if err := w.waitReady(ctx); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return w, nil
}

// Repoint makes the API server ask w again, after another webhook was started.
func (c *ControlPlane) Repoint(ctx context.Context, root string, w *Webhook) error {
	return c.Install(ctx, root, w.Reviews, w.caBundle)
}

func (w *Webhook) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, webhookReadyTimeout)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Health+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-w.Ended():
			return fmt.Errorf("the webhook ended before it was ready; its log ends with:\n%s", w.Tail())
		case <-ctx.Done():
			return fmt.Errorf("the webhook was not ready in time; its log ends with:\n%s", w.Tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop ends the webhook and returns its exit error.
func (w *Webhook) Stop() error {
	return errors.Join(w.Process.Stop(), w.Wait(context.Background()))
}

// freePorts returns n unused loopback ports. All listeners stay open until the
// end, so that no port comes twice.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
