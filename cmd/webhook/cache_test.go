package main

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/capvet/capvet/api/v1alpha1"
)

// TestCacheKeepsLittle: no policy takes much of the cache, whatever its objects hold, so
// that neither the start nor a watch depends on them.
func TestCacheKeepsLittle(t *testing.T) {
	huge := v1alpha1.CapsetPolicySpec{Exemptions: []v1alpha1.Exemption{{Images: []string{"**" + strings.Repeat("x", 1<<20)}, Reason: "r"}}}
	meta := metav1.ObjectMeta{Name: "p", Annotations: map[string]string{"a": strings.Repeat("x", 1<<18)}}
	for _, object := range []client.Object{
		&v1alpha1.CapsetPolicy{ObjectMeta: meta, Spec: huge},
		&v1alpha1.ClusterCapsetPolicy{ObjectMeta: meta, Spec: v1alpha1.ClusterCapsetPolicySpec{CapsetPolicySpec: huge}},
	} {
		stripped := 0
		for kind, options := range (options{}).cacheOptions().ByObject {
			if options.Transform == nil {
				continue
			}
			if _, err := options.Transform(object); err != nil {
				t.Errorf("%T: %T: %v", kind, object, err)
			}
			stripped++
		}
		encoded, err := json.Marshal(object)
		if err != nil || len(encoded) > 1<<10 || stripped < 4 {
			t.Errorf("%T takes %d bytes after %d transforms: %v", object, len(encoded), stripped, err)
		}
	}
}
