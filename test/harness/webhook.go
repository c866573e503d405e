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
	"syscall"
	"time"

	"k8s.io/client-go/util/cert"
)

// Webhook is a running webhook process.
type Webhook struct {
	// Reviews, Health and Metrics are the base URLs of the reviews, /readyz and
	// /metrics.
	Reviews, Health, Metrics string
	// Log is the path of what it wrote.
	Log string
	// Certificates is the folder with the tls.crt and tls.key that it serves with.
	Certificates string

	caBundle []byte
	process  *exec.Cmd
	ended    chan struct{}
	err      error // of the process, once ended is closed
}

// WebhookOptions say how to start a webhook.
type WebhookOptions struct {
	// Binary is the path of the webhook's executable.
	Binary string
	// Args are added to those that the harness needs.
	Args []string
	// Env is added to the environment.
	Env []string
}

// webhookReadyTimeout is how long a webhook may take to be ready.
const webhookReadyTimeout = time.Minute

// StartWebhook installs the shipped manifests of the repository at root and
// starts a webhook behind them, under the ServiceAccount that they give it. It
// returns when the webhook says that it is ready.
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
		Reviews:  "https://" + address(0), Health: "http://" + address(1), Metrics: "http://" + address(2), Log: filepath.Join(dir, "log"), Certificates: dir, ended: make(chan struct{}),
	}
	log, err := os.Create(w.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	w.process = exec.Command(o.Binary, append([]string{
		"--kubeconfig=" + kubeconfig,
		"--cert-dir=" + dir,
		"--host=127.0.0.1", "--port=" + strconv.Itoa(ports[0]),
		"--health-address=" + address(1),
		"--metrics-address=" + address(2),
		"--shutdown-delay=1s",
	}, o.Args...)...)
	w.process.Env = append(os.Environ(), o.Env...)
	w.process.Stdout, w.process.Stderr = log, log
	if err := w.process.Start(); err != nil {
		return nil, fmt.Errorf("starting the webhook: %w", err)
	}
	go func() {
		w.err = w.process.Wait()
		close(w.ended)
	}()
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
		case <-w.ended:
			return fmt.Errorf("the webhook ended before it was ready: %w; its log ends with:\n%s", w.err, w.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the webhook was not ready in time; its log ends with:\n%s", w.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// logTail returns the end of the log.
func (w *Webhook) logTail() string {
	const most = 4 << 10
	log, err := os.ReadFile(w.Log)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-most):])
}

// Terminate sends SIGTERM and does not wait.
func (w *Webhook) Terminate() error { return w.process.Process.Signal(syscall.SIGTERM) }

// Wait waits for the process to end and returns what it ended with.
func (w *Webhook) Wait(ctx context.Context) error {
	select {
	case <-w.ended:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends the process: in order if it can within a minute, else at once.
func (w *Webhook) Stop() error {
	select {
	case <-w.ended:
		return w.err
	default:
	}
	if err := w.Terminate(); err != nil {
		return err
	}
	select {
	case <-w.ended:
	case <-time.After(time.Minute):
		_ = w.process.Process.Kill()
		<-w.ended
	}
	return w.err
}

// freePorts returns n loopback ports that nobody listens on. All are held until
// each is known, so that no port comes twice.
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
