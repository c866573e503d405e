//go:build integration

// Package bounds attacks the webhook as the author of a Pod, of a policy or of a registry's answers can. The
// webhook is a process within the memory limit of the chart, behind a real kube-apiserver.
//
// Its inputs are harmless to other software: each stands only a little beyond the bound that it is for.
package bounds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/capvet/capvet/test/harness"
	"github.com/capvet/capvet/test/testimage"
)

// memoryLimit is the chart's resources.limits.memory.
const memoryLimit = 1 << 30

// cluster holds the processes that all tests share. Each test has its own namespaces.
type cluster struct {
	*harness.ControlPlane
	root, dir, binary string
	webhook           *harness.Webhook
	memory            *harness.MemoryLimit
	registry          *hostileRegistry
	haproxy30         string // the reference of an image
}

var shared *cluster

func TestMain(m *testing.M) {
	harness.Main("bounds", func(ctx context.Context) (int, error) { return runAll(ctx, m) })
}

func runAll(ctx context.Context, m *testing.M) (code int, err error) {
	folders, err := harness.Environment("test-integration", "KUBEBUILDER_ASSETS")
	if err != nil {
		return 1, err
	}
	c := &cluster{}
	if c.root, err = harness.Root(); err != nil {
		return 1, err
	}
	if c.dir, err = os.MkdirTemp("", "capvet-bounds-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(c.dir)
	// The race detector would multiply the memory.
	if c.binary, err = harness.BuildCommand(ctx, c.root, "webhook", c.dir); err != nil {
		return 1, err
	}
	c.registry = &hostileRegistry{honest: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	c.registry.Server = httptest.NewServer(c.registry)
	defer c.registry.Close()
	if err := c.push(ctx); err != nil {
		return 1, err
	}
	if c.ControlPlane, err = harness.StartControlPlane(folders[0], c.dir); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if c.webhook, err = c.start(ctx, filepath.Join(c.dir, "spool")); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.webhook.Stop(), c.memory.Close()) }()
	if c.memory, err = harness.LimitMemory(c.webhook.Process, memoryLimit); err != nil {
		return 1, err
	}
	fmt.Printf("bounds: the kernel enforces the memory limit: %v\n", c.memory.Enforced())
	shared = c
	return m.Run(), nil
}

// start starts a webhook whose temporary files lie in a folder.
func (c *cluster) start(ctx context.Context, temporary string, args ...string) (*harness.Webhook, error) {
	if err := os.Mkdir(temporary, 0o700); err != nil {
		return nil, err
	}
	return c.StartWebhook(ctx, c.root, harness.WebhookOptions{
		Binary: c.binary, Env: []string{"TMPDIR=" + temporary},
		Args: append([]string{"--allow-address=127.0.0.0/8", "--plain-http=" + c.registry.host()}, args...),
	})
}

func (c *cluster) push(ctx context.Context) error {
	spec, origin, err := testimage.HAProxy{Line: "3.0", Arch: "arm64"}.Official(ctx)
	if err == nil {
		err = origin.Refused()
	}
	if err != nil {
		return err
	}
	image, err := testimage.Build(ctx, spec)
	if err != nil {
		return err
	}
	c.haproxy30 = c.registry.host() + "/library/haproxy:3.0"
	ref, err := name.ParseReference(c.haproxy30, name.Insecure)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithContext(ctx))
}
