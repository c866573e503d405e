//go:build alerts

package alerts

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/test/harness"
)

// load does things over and over until it is stopped.
type load struct {
	t       *testing.T
	cluster *harness.ControlPlane
	doing   sync.WaitGroup
	cancels []context.CancelFunc
}

func (l *load) stop() {
	for _, cancel := range l.cancels {
		cancel()
	}
	l.doing.Wait()
}

// every does something, and again after a pause. An error is logged once.
func (l *load) every(pause time.Duration, do func(context.Context) error) {
	ctx, cancel := context.WithCancel(l.t.Context())
	l.cancels = append(l.cancels, cancel)
	l.doing.Add(1)
	go func() {
		defer l.doing.Done()
		said := false
		for ctx.Err() == nil {
			if err := do(ctx); err != nil && ctx.Err() == nil && !said {
				l.t.Logf("under load: %v", err)
				said = true
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}()
}

// pod has the API server admit a Pod as a dry run.
func (l *load) pod(image string) func(context.Context) error {
	return func(ctx context.Context) error {
		return l.cluster.Client.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "lb-", Namespace: namespace},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "lb", Image: image}}},
		}, client.DryRunAll)
	}
}

// nowhere asks the webhook itself about a Pod of a namespace that is not there,
// which no API server would, and which it cannot find the policies of.
func (l *load) nowhere() func(context.Context) error {
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := l.cluster.Client.Get(l.t.Context(), client.ObjectKey{Name: "capvet"}, configuration); err != nil {
		l.t.Fatal(err)
	}
	var url string
	for _, webhook := range configuration.Webhooks {
		if webhook.Name == "pods.capvet.dev" {
			url = *webhook.ClientConfig.URL
		}
	}
	pod, err := json.Marshal(&corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "lb", Namespace: "nowhere"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "lb", Image: "haproxy"}}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	review, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "1", Operation: admissionv1.Create, Namespace: "nowhere", Name: "lb",
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	anybody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"?timeout=10s", bytes.NewReader(review))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := anybody.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var answer admissionv1.AdmissionReview
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return err
		}
		if !answer.Response.Allowed {
			return errors.New("a mistake of capvet's own refuses a Pod")
		}
		return nil
	}
}
