package policyspec

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/policy"
)

// FuzzPolicy: any object of the kind, as stored, compiles or has an error, and has the same
// one in a cache, for bounded memory; judging by it ends.
func FuzzPolicy(f *testing.F) {
	for _, spec := range []string{
		`{}`,
		`{"action":"Reject","onScanError":{"default":"Warn","tooLarge":"Reject"},"architectures":["arm64","arm64"]}`,
		`{"podSelector":{"matchLabels":{"a":"b","":"` + strings.Repeat("v", 64) + `"}}}`,
		`{"podSelector":{"matchExpressions":[{"key":"a","operator":"Near"},{"key":"a","operator":"In","values":["b"]}]}}`,
		`{"exemptions":[{"images":["**/haproxy:3*",""],"reason":" ","expires":"2027-01-02T03:04:05Z"}]}`,
		`{"exemptions":[` + strings.Repeat(`{"images":[],"reason":"r"},`, maxExemptions) + `{}]}`,
	} {
		f.Add([]byte(`{"metadata":{"name":"p","namespace":"shop"},"spec":` + spec + `}`))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		var p v1alpha1.CapsetPolicy
		if json.Unmarshal(object, &p) != nil {
			return
		}
		p.Annotations = nil
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		compiled, err := CompileNamespaced(&p)
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+64*len(object)); got > limit {
			t.Errorf("%d bytes allocate %d, the limit is %d", len(object), got, limit)
		}
		if err == nil {
			image := policy.Image{Name: "docker.io/library/haproxy:3.0.11", Architecture: "arm64"}
			policy.Evaluate(time.Unix(0, 0), []policy.Policy{compiled}, []policy.Image{image})
		}
		if valid := Validate(&p.Spec); valid == nil && err != nil && !strings.HasPrefix(err.Error(), "spec.podSelector") {
			t.Errorf("valid, but %v", err)
		}
		StripNamespaced(&p)
		if _, cached := CompileNamespaced(&p); (err == nil) != (cached == nil) || err != nil && err.Error() != cached.Error() {
			t.Errorf("got %v, in a cache %v", err, cached)
		}
	})
}
