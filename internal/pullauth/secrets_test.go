package pullauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func secret(name string, kind corev1.SecretType, key, content string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Type: kind, Data: map[string][]byte{key: []byte(content)}}
}

func auths(user string) string {
	return fmt.Sprintf(`{"example.com":{"username":%q,"password":"p"}}`, user)
}

func objects() []client.Object {
	return []client.Object{
		secret("json", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, `{"auths":`+auths("json")+`}`),
		secret("old", corev1.SecretTypeDockercfg, corev1.DockerConfigKey, auths("old")),
		// "basic:p" in base64, as docker login writes it.
		secret("basic", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, `{"auths":{"example.com":{"auth":"YmFzaWM6cA=="}}}`),
		secret("broken", corev1.SecretTypeDockerConfigJson, corev1.DockerConfigJsonKey, `{"auths":`),
		secret("opaque", corev1.SecretTypeOpaque, corev1.DockerConfigJsonKey, `{"auths":`+auths("opaque")+`}`),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "sa"},
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "old"}, {Name: "missing"}}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "bare"}},
	}
}

func TestCredentials(t *testing.T) {
	tests := []struct {
		name    string
		account string
		secrets []string
		want    []string // users
		skipped []string
	}{
		{"none", "", nil, nil, nil},
		{"both types, in order", "sa", []string{"json", "old", "basic"}, []string{"json", "old", "basic"}, nil},
		{"missing, broken and of another type", "", []string{"missing", "broken", "opaque", "json"}, []string{"json"},
			[]string{"missing", "broken", "opaque"}},
		{"the ServiceAccount's", "sa", nil, []string{"old"}, []string{"missing"}},
		{"the ServiceAccount's count for nothing beside the Pod's", "sa", []string{"json"}, []string{"json"}, nil},
		{"a ServiceAccount without", "bare", nil, nil, nil},
		{"no such ServiceAccount", "nobody", nil, nil, nil},
	}
	reader := fake.NewClientBuilder().WithObjects(objects()...).Build()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			credentials, skipped, err := Resolver{Reader: reader}.Credentials(t.Context(), "n", tt.account, tt.secrets)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, users(t, credentials, "example.com/a")); diff != "" {
				t.Errorf("users (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.skipped, skipped); diff != "" {
				t.Errorf("skipped (-want +got):\n%s", diff)
			}
		})
	}
}

func TestManySecrets(t *testing.T) {
	reads := 0
	reader := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
			reads++
			return c.Get(ctx, key, object, options...)
		},
	}).Build()
	_, skipped, err := Resolver{Reader: reader}.Credentials(t.Context(), "n", "", strings.Split(strings.Repeat("x,", 1000), ","))
	if err != nil || reads != maxSecrets || len(skipped) != 1001 {
		t.Errorf("%d reads, %d skipped, %v", reads, len(skipped), err)
	}
}

func TestAPIServerFails(t *testing.T) {
	failing := errors.New("etcd is gone")
	reader := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return failing
		},
	}).Build()
	for _, secrets := range [][]string{nil, {"s"}} {
		if _, _, err := (Resolver{Reader: reader}).Credentials(t.Context(), "n", "sa", secrets); !errors.Is(err, failing) {
			t.Errorf("got %v", err)
		}
	}
}
