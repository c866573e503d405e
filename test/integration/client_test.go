//go:build integration

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
)

// person is a client that keeps the warnings that it is shown.
type person struct {
	kubernetes.Interface
	client client.Client

	mu    sync.Mutex
	shown []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (p *person) HandleWarningHeader(_ int, _ string, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = append(p.shown, text)
}

// warnings returns the warnings since the last call.
func (p *person) warnings() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	shown := p.shown
	p.shown = nil
	return shown
}

func newPerson(t *testing.T) *person {
	t.Helper()
	p := &person{}
	config := rest.CopyConfig(shared.Config)
	config.WarningHandler = p
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	p.Interface = clients
	if p.client, err = client.New(config, client.Options{}); err != nil {
		t.Fatal(err)
	}
	return p
}

// namespace creates a namespace of the test's own, with a policy if spec is not
// nil, and waits until the webhook goes by it.
func namespace(t *testing.T, spec *v1alpha1.CapsetPolicySpec) string {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()), " ", "-"))
	if len(name) > 63 {
		name = name[len(name)-63:]
	}
	if err := shared.CreateNamespace(t.Context(), name, nil); err != nil {
		t.Fatal(err)
	}
	if spec != nil {
		policy := &v1alpha1.CapsetPolicy{ObjectMeta: metav1.ObjectMeta{Name: "own", Namespace: name}, Spec: *spec}
		if err := shared.Client.Create(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		awaitPolicy(t, name, "own")
	}
	return name
}

// awaitPolicy waits until the webhook has seen a namespace's policy: until a
// dry run with an image that cannot be read is answered by it.
func awaitPolicy(t *testing.T, namespace, policy string) {
	t.Helper()
	p := newPerson(t)
	probe := pod("probe", nobody+"/probe:"+policy)
	eventually(t, func(ctx context.Context) error {
		_, err := p.CoreV1().Pods(namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if len(p.warnings()) > 0 || denied(err) {
			return nil
		}
		return fmt.Errorf("policy %s does not show yet: %w", policy, err)
	})
}

// eventually tries until there is no error, for a minute at most.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatal(errors.Join(err, last))
	}
}

// denied reports whether an error is the webhook's denial.
func denied(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `admission webhook "pods.capvet.dev" denied the request`)
}

func pod(name string, images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for i, image := range images {
		container := "lb"
		if i > 0 {
			container = fmt.Sprintf("c%d", i)
		}
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: container, Image: image})
	}
	return p
}

func rejecting() *v1alpha1.CapsetPolicySpec {
	return &v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject}
}

func warning() *v1alpha1.CapsetPolicySpec {
	return &v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionWarn}
}

// wantParts fails the test for each part that text lacks.
func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// auditAnnotations returns the annotations that the API server's audit log has
// for the creation of a Pod.
func auditAnnotations(t *testing.T, namespace, name string) map[string]string {
	t.Helper()
	var annotations map[string]string
	eventually(t, func(context.Context) error {
		file, err := os.Open(shared.AuditLog)
		if err != nil {
			return err
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var event struct {
				Verb        string
				ObjectRef   struct{ Namespace, Name string }
				Annotations map[string]string
			}
			if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
				continue // a line still being written
			}
			if event.Verb == "create" && event.ObjectRef.Namespace == namespace && event.ObjectRef.Name == name {
				annotations = event.Annotations
				return nil
			}
		}
		return fmt.Errorf("no event for the creation of Pod %s/%s yet", namespace, name)
	})
	return annotations
}
