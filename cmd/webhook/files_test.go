package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/capvet/capvet/internal/report"
)

func TestConfigMapFiles(t *testing.T) {
	f := configMapFiles{fake.NewClientBuilder().WithObjects(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "lb"},
		Data:       map[string]string{"haproxy.cfg": "global\n  user haproxy\n", "script": "exec haproxy"},
	}).Build()}
	for _, tt := range []struct {
		namespace, name, key string
		want                 report.Settings
		ok                   bool
	}{
		{"shop", "lb", "haproxy.cfg", report.Settings{User: true}, true},
		{"shop", "lb", "script", report.Settings{}, false},
		{"shop", "lb", "other", report.Settings{}, false},
		{"shop", "other", "haproxy.cfg", report.Settings{}, false},
		{"other", "lb", "haproxy.cfg", report.Settings{}, false},
	} {
		if got, ok := f.Settings(t.Context(), tt.namespace, tt.name, tt.key); got != tt.want || ok != tt.ok {
			t.Errorf("%s/%s %s: %+v, %v", tt.namespace, tt.name, tt.key, got, ok)
		}
	}
}
