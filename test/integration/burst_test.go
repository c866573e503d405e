//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// hurried returns a person whose client has no rate limit.
func hurried(t *testing.T) *person {
	t.Helper()
	p := &person{}
	config := rest.CopyConfig(shared.Config)
	config.WarningHandler, config.QPS = p, -1
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	p.Interface = clients
	return p
}

// storedLayer is a gzip layer of one file of size bytes that does not compress.
// It is stored as it is, since compressing it would be most of a test's time.
func storedLayer(t *testing.T, file string, size int64, seed byte) v1.Layer {
	t.Helper()
	var blob bytes.Buffer
	packed, err := gzip.NewWriterLevel(&blob, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(packed)
	if err := archive.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(archive, rand.NewChaCha8([32]byte{seed}), size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return static.NewLayer(blob.Bytes(), types.OCILayer)
}

// pushOver pushes an image with layers over it, and returns the reference.
func pushOver(t *testing.T, base v1.Image, repository string, layers ...v1.Layer) string {
	t.Helper()
	image, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		t.Fatal(err)
	}
	// Not through the front, which counts only capvet's requests.
	ref, err := name.ParseReference(shared.registry.Host()+"/"+repository, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return shared.front.Host() + "/" + repository
}

// TestBurst: all Pods of a large Deployment at once, with one large image that is
// in no cache. No request fails, and each layer is fetched once.
func TestBurst(t *testing.T) {
	const pods, layers, layerBytes = 500, 6, 100 << 20
	over := make([]v1.Layer, layers)
	for i := range over {
		over[i] = storedLayer(t, fmt.Sprintf("opt/data/%d", i), layerBytes, byte(100+i))
	}
	base, _, _, err := haproxy(t.Context(), "3.0", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	reference := pushOver(t, base, "library/burst-haproxy:1", over...)
	ns := namespace(t, warning())
	p := hurried(t)
	var all sync.WaitGroup
	failures := make(chan error, pods)
	for i := range pods {
		all.Go(func() {
			if _, err := p.CoreV1().Pods(ns).Create(ctx, pod(fmt.Sprintf("web-%d", i), reference), metav1.CreateOptions{}); err != nil {
				failures <- err
			}
		})
	}
	all.Wait()
	close(failures)
	failed := 0
	for err := range failures {
		if failed++; failed <= 3 {
			t.Error(err)
		}
	}
	told, pending, other := 0, 0, []string{}
	for _, warning := range p.warnings() {
		switch {
		case strings.Contains(warning, "makes legacy"):
			told++
		case strings.Contains(warning, "is pending"):
			pending++
		case strings.HasPrefix(warning, "container "):
			other = append(other, warning)
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d requests failed", failed, pods)
	}
	if len(other) > 0 {
		t.Errorf("%d were told something else, such as %q", len(other), other[0])
	}
	// The scan goes on behind the answers that did not wait for it.
	eventually(t, func(ctx context.Context) error {
		warnings, err := create(t, p, ns, pod("after", reference))
		if err == nil && !strings.Contains(strings.Join(warnings, "\n"), "makes legacy") {
			err = fmt.Errorf("warnings: %q", warnings)
		}
		if err != nil {
			_ = p.CoreV1().Pods(ns).Delete(ctx, "after", metav1.DeleteOptions{})
		}
		return err
	})
	fetched := shared.front.fetched("library/burst-haproxy/")
	for _, layer := range over {
		digest, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if n := fetched["/v2/library/burst-haproxy/blobs/"+digest.String()]; n != 1 {
			t.Errorf("layer %s was fetched %d times", digest, n)
		}
	}
	t.Logf("%d Pods at once of one cold image of %d MiB: %d failed, %d told of legacy calls, %d that it is still being read, %d admitted "+
		"with no word in time; each of its %d layers fetched once",
		pods, layers*layerBytes>>20, failed, told, pending, pods-failed-told-pending, layers)
}

// TestNamespaceFlood: one namespace asks for more cold images than are read at a
// time, of a registry that never ends sending them. Another namespace's image is
// read meanwhile, within the time of its request.
func TestNamespaceFlood(t *testing.T) {
	const flood = 12 // webhook's --max-scans is 8
	base, _, _, err := haproxy(t.Context(), "3.0", "arm64")
	if err != nil {
		t.Fatal(err)
	}
	references, over := make([]string, flood), make([]v1.Layer, flood)
	for i := range references {
		over[i] = storedLayer(t, "opt/data", 1<<20, byte(50+i))
		references[i] = pushOver(t, base, fmt.Sprintf("library/flood-haproxy-%d:1", i), over[i])
	}
	small := pushOver(t, base, "library/modest-haproxy:1", storedLayer(t, "opt/data", 1<<10, 70))
	released, arrived := make(chan struct{}), make(chan struct{}, flood*64)
	for i, layer := range over {
		digest, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		restore := shared.front.fail(fmt.Sprintf("library/flood-haproxy-%d/blobs/%s", i, digest), func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			select {
			case <-released:
			case <-r.Context().Done():
			}
			shared.front.proxy.ServeHTTP(w, r)
		})
		defer restore()
	}
	flooded, modest := "", ""
	t.Run("flooded", func(t *testing.T) { flooded = namespace(t, warning()) })
	t.Run("modest", func(t *testing.T) { modest = namespace(t, warning()) })
	p := hurried(t)
	var all sync.WaitGroup
	for i, reference := range references {
		all.Go(func() {
			if _, err := p.CoreV1().Pods(flooded).Create(ctx, pod(fmt.Sprintf("web-%d", i), reference), metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	defer func() {
		close(released)
		all.Wait()
	}()
	for range 6 { // one namespace's share of the eight scans
		<-arrived
	}
	warnings, err := create(t, newPerson(t), modest, pod("web", small))
	if err != nil || !strings.Contains(strings.Join(warnings, "\n"), "makes legacy") {
		t.Errorf("the other namespace was told %q, %v", warnings, err)
	}
	_, metrics := get(t, shared.webhook.Metrics+"/metrics")
	wantParts(t, metrics, "capvet_scans_running 6", "capvet_scans_waiting 6", "capvet_scan_wait_seconds_count")
}
