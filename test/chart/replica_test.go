//go:build chart

package chart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/test/process"
)

// replica is a webhook process started as a Deployment's Pod would be.
type replica struct {
	*process.Process
	address, health, metrics string
	certificates             string // the folder with a Secret's files, if there is one
}

// startReplica starts the container of a Deployment: its arguments, its files
// from ConfigMaps and Secrets, its ServiceAccount's token. It does not wait.
func startReplica(t *testing.T, namespace, deployment string) *replica {
	t.Helper()
	return startReplicaOf(t, shared.webhook, namespace, deployment)
}

// startReplicaOf does so with another executable in the image's place.
func startReplicaOf(t *testing.T, webhook, namespace, deployment string) *replica {
	t.Helper()
	d := &appsv1.Deployment{}
	if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: deployment}, d); err != nil {
		t.Fatal(err)
	}
	spec := d.Spec.Template.Spec
	dir := t.TempDir()
	args := spec.Containers[0].Args
	certificates := ""
	for i, mount := range spec.Containers[0].VolumeMounts {
		to := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, volume := range spec.Volumes {
			if volume.Name != mount.Name {
				continue
			}
			files := filesOf(t, namespace, volume)
			for file, text := range files {
				file = filepath.Join(to, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, text, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for j := range args {
				if flag, path, ok := strings.Cut(args[j], "="); ok && files != nil &&
					(path == mount.MountPath || strings.HasPrefix(path, mount.MountPath+"/")) {
					args[j] = flag + "=" + to + path[len(mount.MountPath):]
				}
			}
			if volume.Secret != nil {
				certificates = to
			}
		}
	}
	kubeconfig, err := shared.cluster.ServiceAccountKubeconfig(t.Context(), namespace, spec.ServiceAccountName)
	if err != nil {
		t.Fatal(err)
	}
	addresses := freeAddresses(t, 3)
	r := &replica{address: addresses[0], health: addresses[1], metrics: addresses[2], certificates: certificates}
	_, port, _ := net.SplitHostPort(r.address)
	r.Process, err = process.Start(exec.Command(webhook, append(args,
		"--kubeconfig="+kubeconfig, "--host=127.0.0.1", "--port="+port, "--health-address="+r.health, "--metrics-address="+r.metrics)...),
		filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Kill()
		if t.Failed() {
			t.Logf("a replica's log ends with:\n%s", r.Tail())
		}
	})
	return r
}

// freeAddresses returns n unused addresses on loopback. All listeners stay open
// until the end, so that no address comes twice.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses
}

// filesOf returns the files of a ConfigMap or Secret volume, by path; nil for a
// volume of another kind.
func filesOf(t *testing.T, namespace string, volume corev1.Volume) map[string][]byte {
	t.Helper()
	var items []corev1.KeyToPath
	data := map[string][]byte{}
	switch {
	case volume.ConfigMap != nil:
		object := &corev1.ConfigMap{}
		if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: volume.ConfigMap.Name},
			object); err != nil {
			t.Fatal(err)
		}
		for key, text := range object.Data {
			data[key] = []byte(text)
		}
		items = volume.ConfigMap.Items
	case volume.Secret != nil:
		object := &corev1.Secret{}
		if err := shared.cluster.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: volume.Secret.SecretName},
			object); err != nil {
			t.Fatal(err)
		}
		data, items = object.Data, volume.Secret.Items
	default:
		return nil
	}
	if len(items) == 0 {
		return data
	}
	files := map[string][]byte{}
	for _, item := range items {
		files[item.Path] = data[item.Key]
	}
	return files
}

// ready asks as a kubelet does.
func (r *replica) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.health+"/readyz?verbose=1", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		return errors.New(string(body))
	}
	return nil
}

func (r *replica) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, r.ready)
}

// terminate ends the replica as a kubelet does, and waits.
func (r *replica) terminate(t *testing.T) {
	t.Helper()
	if err := r.Terminate(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Ended():
	case <-time.After(time.Minute):
		t.Fatalf("did not end within a minute of SIGTERM:\n%s", r.Tail())
	}
}

// eventually tries until there is no error, for a minute at most.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = try(t.Context()); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// endpointDelay is how long the balancer takes to notice that a replica is
// ready or no longer is.
const endpointDelay = time.Second

// balancer stands in for the Service: each connection goes to one of the
// replicas that were ready when it last looked, and is not tried again.
type balancer struct {
	net.Listener

	mu       sync.Mutex
	replicas []*replica
	ready    []string
	turn     int
}

func startBalancer(t *testing.T) *balancer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: listener}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		listener.Close()
	})
	go func() {
		for ctx.Err() == nil {
			b.look(ctx)
			time.Sleep(endpointDelay)
		}
	}()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go b.forward(connection)
		}
	}()
	return b
}

// set replaces the replicas; each takes part as soon as it is ready.
func (b *balancer) set(replicas ...*replica) {
	b.mu.Lock()
	b.replicas = slices.Clone(replicas) // the caller replaces its own entries
	b.mu.Unlock()
	b.look(context.Background())
}

func (b *balancer) look(ctx context.Context) {
	b.mu.Lock()
	replicas := b.replicas
	b.mu.Unlock()
	var ready []string
	for _, r := range replicas {
		if r.ready(ctx) == nil {
			ready = append(ready, r.address)
		}
	}
	b.mu.Lock()
	b.ready = ready
	b.mu.Unlock()
}

func (b *balancer) forward(connection net.Conn) {
	defer connection.Close()
	b.mu.Lock()
	if len(b.ready) == 0 {
		b.mu.Unlock()
		return
	}
	b.turn++
	address := b.ready[b.turn%len(b.ready)]
	b.mu.Unlock()
	backend, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer backend.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{backend, connection}, {connection, backend}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
}
