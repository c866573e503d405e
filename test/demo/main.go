// Command demo runs capvet with a real control plane: etcd and kube-apiserver, a
// registry with real HAProxy images, the webhook, and three namespaces with
// different policies. It shows kubectl's output for Pods created in each.
// Everything listens on loopback and is removed at the end.
//
// It stays up until interrupted. With DEMO_EXIT=1 it ends after the last scene,
// and fails unless every outcome was the expected one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/capvet/capvet/test/harness"
	"github.com/capvet/capvet/test/registry"
)

func main() {
	harness.Main("demo", func(ctx context.Context) (int, error) { return 0, run(ctx) })
}

func run(ctx context.Context) (err error) {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "capvet-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	step("building capvet; etcd, kube-apiserver, kubectl and a registry too if they are not there yet")
	binary, err := harness.BuildCommand(ctx, root, "webhook", dir)
	if err != nil {
		return err
	}
	assets, err := harness.Tools(ctx, root, "controlplane")
	if err != nil {
		return err
	}
	tools, err := harness.Tools(ctx, root, "registry")
	if err != nil {
		return err
	}

	step("starting a registry and filling it with HAProxy images for arm64 and amd64")
	store, err := registry.Start(ctx, registry.Options{Binary: filepath.Join(tools, "registry"), Dir: filepath.Join(dir, "registry")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	images, err := pushImages(ctx, store.Host())
	if err != nil {
		return err
	}

	step("starting etcd and kube-apiserver, installing config/default, starting the webhook")
	cluster, err := harness.StartControlPlane(assets, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	webhook, err := cluster.StartWebhook(ctx, root, harness.WebhookOptions{
		Binary: binary,
		Args:   []string{"--plain-http=" + store.Host(), "--allow-address=127.0.0.0/8"},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, webhook.Stop()) }()
	if err := createNamespaces(ctx, cluster); err != nil {
		return err
	}

	k := kubectl{path: cluster.Kubectl, kubeconfig: cluster.Kubeconfig}
	failed, all := 0, scenes(images)
	for _, scene := range all {
		if !scene.play(ctx, k) {
			failed++
		}
	}
	fmt.Printf("\n%d of %d outcomes as expected\n", len(all)-failed, len(all))
	if failed > 0 {
		return fmt.Errorf("%d outcomes were not the expected ones", failed)
	}
	if os.Getenv("DEMO_EXIT") != "" {
		return nil
	}
	fmt.Printf(`
Everything stays up until you press Ctrl-C. To play:

  export KUBECONFIG=%s
  kubectl=%s
  $kubectl get ccp,cp -A
  $kubectl run lb -n demo-warn --image %s
  $kubectl patch cp own -n demo-warn --type merge -p '{"spec":{"action":"Reject"}}'

No kubelet runs here, so Pods stay Pending. The webhook's log is
  %s
`, cluster.Kubeconfig, cluster.Kubectl, images.haproxy30, webhook.Log)
	<-ctx.Done()
	return nil
}

func step(text string) { fmt.Println("==", text) }

// kubectl runs the real kubectl, and prints the command and its output.
type kubectl struct{ path, kubeconfig string }

func (k kubectl) run(ctx context.Context, args ...string) (string, error) {
	fmt.Println("$ kubectl " + strings.Join(args, " "))
	output, err := k.quiet(ctx, args...)
	fmt.Print(output)
	return output, err
}

// quiet runs kubectl without printing.
func (k kubectl) quiet(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, k.path, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig)
	output, err := command.CombinedOutput()
	return string(output), err
}
