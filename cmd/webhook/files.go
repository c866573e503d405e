package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
)

// configMapFiles reads the files that Pods mount from ConfigMaps. It gets each
// ConfigMap by name, without a list, a watch or a cache.
type configMapFiles struct{ reader client.Reader }

// Settings implements admission.FileSource.
func (f configMapFiles) Settings(ctx context.Context, namespace, configMap, key string) (report.Settings, bool) {
	var object corev1.ConfigMap
	if err := f.reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: configMap}, &object); err != nil {
		if !apierrors.IsNotFound(err) {
			logf.FromContext(ctx).Error(err, "going on without a Pod's configuration", "namespace", namespace, "configMap", configMap)
		}
		return report.Settings{}, false
	}
	text, ok := object.Data[key]
	if !ok {
		return report.Settings{}, false
	}
	return product.Settings([]byte(text))
}
