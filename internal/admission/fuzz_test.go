package admission

import (
	"context"
	"encoding/json"
	"runtime"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/capvet/capvet/api/v1alpha1"
	"github.com/capvet/capvet/internal/placement"
	"github.com/capvet/capvet/internal/policy"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/internal/reviewserver"
)

// A review may allocate reviewBytes, and reviewBytesPerByte for each byte of its objects: an
// empty container is three bytes of JSON and some hundred bytes in memory.
const (
	reviewBytes        = 4 << 20
	reviewBytesPerByte = 2 << 10
)

// FuzzReview: any object of any kind, created or updated, gets an answer within the API server's
// limits, for bounded memory.
func FuzzReview(f *testing.F) {
	for name, p := range largePods(1 << 10) {
		object, err := json.Marshal(p)
		if err != nil {
			f.Fatal(name, err)
		}
		f.Add("", "pods", object, []byte(nil))
		f.Add("", "pods", object, object)
		template := append(append([]byte(`{"spec":{"template":`), object...), "}}"...)
		f.Add("apps", "deployments", template, []byte(`{}`))
	}
	f.Add("batch", "cronjobs", []byte(`{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{},{}]}}}}}}`),
		[]byte(`{"spec":null}`))
	reports := manyBinaries(3)
	h := &Handler{
		Files: anyFile{}, Nodes: placement.NewNodes(), Observer: &observer{}, Now: time.Now,
		Images: &reader{answers: map[string]func(context.Context) (report.Report, error){
			"legacy": func(context.Context) (report.Report, error) { return reports, nil }}},
	}
	f.Fuzz(func(t *testing.T, group, resource string, object, old []byte) {
		h.Policies = source{policies: []policy.Policy{clusterPolicy(t, v1alpha1.CapsetPolicySpec{Action: v1alpha1.ActionReject})}}
		r := reviewserver.Request{Operation: admissionv1.Create, Object: object, OldObject: old}
		r.Resource.Group, r.Resource.Resource = group, resource
		if len(old) > 0 {
			r.Operation = admissionv1.Update
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		response := h.Handle(t.Context(), r)
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(reviewBytes+reviewBytesPerByte*(len(object)+len(old))); got > limit {
			t.Errorf("%d bytes allocate %d, the limit is %d", len(object)+len(old), got, limit)
		}
		withinLimits(t, response)
	})
}
