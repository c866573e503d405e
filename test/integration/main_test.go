//go:build integration

// Package integration tests capvet from a client's side: a real kube-apiserver
// and etcd with the shipped manifests installed, a real registry with real
// images, and the webhook as a process of its own under its own RBAC identity.
package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/capvet/capvet/test/harness"
	"github.com/capvet/capvet/test/registry"
)

// cluster holds the processes that all tests share. Each test has its own
// namespaces.
type cluster struct {
	*harness.ControlPlane
	root     string
	dir      string
	binary   string // the webhook's executable
	webhook  *harness.Webhook
	registry *registry.Registry // open to all
	private  *registry.Registry // needs privateUser and privatePassword
	front    *front             // before registry: counts, and fails on demand
	images   images

	controllers string // the folder of kube-controller-manager
}

const (
	privateUser     = "robot"
	privatePassword = "s3cret"
)

var shared *cluster

func TestMain(m *testing.M) {
	harness.Main("integration", func(ctx context.Context) (int, error) { return runAll(ctx, m) })
}

func runAll(ctx context.Context, m *testing.M) (code int, err error) {
	folders, err := harness.Environment("test-integration", "KUBEBUILDER_ASSETS", "CAPVET_REGISTRY_TOOLS", "CAPVET_CONTROLLERS_TOOLS")
	if err != nil {
		return 1, err
	}
	assets, tools, controllers := folders[0], folders[1], folders[2]
	root, err := harness.Root()
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "capvet-integration-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	c := &cluster{root: root, dir: dir, controllers: controllers}

	race := []string{}
	if raceEnabled {
		race = append(race, "-race")
	}
	if c.binary, err = harness.BuildCommand(ctx, root, "webhook", dir, race...); err != nil {
		return 1, err
	}
	if c.registry, err = registry.Start(ctx, registry.Options{Binary: filepath.Join(tools, "registry"),
		Dir: filepath.Join(dir, "registry")}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.registry.Close()) }()
	if c.private, err = registry.Start(ctx, registry.Options{
		Binary: filepath.Join(tools, "registry"), Dir: filepath.Join(dir, "private"),
		Users: map[string]string{privateUser: privatePassword},
	}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.private.Close()) }()
	c.front = newFront(c.registry.Host())
	defer c.front.Close()
	if c.images, err = pushImages(ctx, c); err != nil {
		return 1, err
	}
	if c.ControlPlane, err = harness.StartControlPlane(assets, dir); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	providers, err := c.writeProvider()
	if err != nil {
		return 1, err
	}
	if c.webhook, err = c.StartWebhook(ctx, root,
		harness.WebhookOptions{Binary: c.binary, Args: append(c.webhookArgs(), providers...)}); err != nil {
		return 1, err
	}
	defer func() {
		err = errors.Join(err, c.webhook.Stop())
		if code != 0 || err != nil {
			if log, readErr := os.ReadFile(c.webhook.Log); readErr == nil {
				fmt.Fprintf(os.Stderr, "the webhook's log:\n%s\n", log)
			}
		}
	}()
	shared = c
	return m.Run(), nil
}

// webhookArgs lets the webhook use the registries, which are on loopback and
// without TLS: both have to be allowed by name.
func (c *cluster) webhookArgs() []string {
	args := []string{"--log-level=debug", "--allow-address=127.0.0.0/8", "--read-configmaps"}
	for _, host := range []string{c.registry.Host(), c.private.Host(), c.front.Host(), nobody} {
		args = append(args, "--plain-http="+host)
	}
	return append(args, "--client-ca-file="+c.ClientCA, "--client-name="+harness.ClientName)
}

// nobody is the address of a registry that is down: the discard port, without a
// listener.
const nobody = "127.0.0.1:9"
