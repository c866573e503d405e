//go:build chart

package chart

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// admit has the API server admit a Pod, as a dry run, and returns the warnings.
func admit(ctx context.Context, namespace, image string, pullSecrets ...string) (string, error) {
	var warnings recorder
	config := rest.CopyConfig(shared.cluster.Config)
	config.WarningHandler, config.QPS = &warnings, -1
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "lb-"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "lb", Image: image}}}}
	for _, name := range pullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	_, err = clients.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return warnings.text(), err
}

// recorder keeps warnings.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (r *recorder) HandleWarningHeader(_ int, _, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, text)
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// legacyWarning is part of the warning for a Pod with HAProxy 3.0.
const legacyWarning = "legacy 32-bit"

// pendingWarning is part of its warning after a timeout.
const pendingWarning = "is pending"

func judged(namespace, image string) func(context.Context) error {
	return func(ctx context.Context) error {
		warnings, err := admit(ctx, namespace, image)
		if err == nil && !strings.Contains(warnings, legacyWarning) {
			err = fmt.Errorf("not judged: %q", warnings)
		}
		return err
	}
}

// load is a stream of admissions.
type load struct {
	admitted, failed, unjudged atomic.Int64
	// Admitted with a warning: of a timeout, and of an unreadable image.
	pending, uninspected atomic.Int64
	first                atomic.Pointer[error]
	firstUnjudged        atomic.Pointer[string] // the time and the warnings
	stop                 func()
}

// startLoad admits Pods in several streams until stop is called.
func startLoad(t *testing.T, namespace, image string) *load {
	t.Helper()
	l := &load{}
	ctx, cancel := context.WithCancel(t.Context())
	var streams sync.WaitGroup
	for range 4 {
		streams.Go(func() {
			for ctx.Err() == nil {
				warnings, err := admit(context.WithoutCancel(ctx), namespace, image)
				switch {
				case err != nil:
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, &err)
				case strings.Contains(warnings, pendingWarning):
					l.pending.Add(1)
				case strings.Contains(warnings, "not inspected"):
					l.uninspected.Add(1)
				case !strings.Contains(warnings, legacyWarning):
					l.unjudged.Add(1)
					said := fmt.Sprintf("%s: %q", time.Now().UTC().Format(time.RFC3339Nano), warnings)
					l.firstUnjudged.CompareAndSwap(nil, &said)
				default:
					l.admitted.Add(1)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	l.stop = func() {
		cancel()
		streams.Wait()
	}
	return l
}

func (l *load) print(what string) {
	fmt.Printf("chart: %s: %d admissions judged, %d pending, %d not inspected, %d not judged, %d failed\n",
		what, l.admitted.Load(), l.pending.Load(), l.uninspected.Load(), l.unjudged.Load(), l.failed.Load())
}

// report ends the load and prints the count. No admission may have failed.
func (l *load) report(t *testing.T, what string, judged bool) {
	t.Helper()
	l.stop()
	l.print(what)
	if l.failed.Load() > 0 {
		t.Errorf("%s: %d admissions failed: %v", what, l.failed.Load(), *l.first.Load())
	}
	if judged && l.unjudged.Load() > 0 {
		t.Errorf("%s: %d Pods were admitted unjudged, the first with %s; the API server says:\n%s", what, l.unjudged.Load(),
			*l.firstUnjudged.Load(), failedCalls(t))
	}
	if judged && l.uninspected.Load() > 0 {
		t.Errorf("%s: %d Pods were not inspected", what, l.uninspected.Load())
	}
	if l.admitted.Load() == 0 {
		t.Errorf("%s: no load at all", what)
	}
}

// failedCalls returns the last of the API server's lines on webhooks that it
// could not call.
func failedCalls(t *testing.T) string {
	t.Helper()
	log, err := os.ReadFile(shared.cluster.Log)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "webhook") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-10):], "")
}
