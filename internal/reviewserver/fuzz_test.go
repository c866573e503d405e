package reviewserver

import (
	"bytes"
	"runtime"
	"testing"
)

// FuzzDecode: any body is a request whose objects are parts of it, or an error, for bounded memory.
func FuzzDecode(f *testing.F) {
	const head = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","namespace":"shop",`
	for _, rest := range []string{`"object":{"a":1},"oldObject":null}}`, `"object":{"a":`, `"dryRun":true}}`, `"object":[],"object":{}}}`} {
		f.Add([]byte(head + rest))
	}
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1beta1","request":{}}`))
	f.Fuzz(func(t *testing.T, review []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		whole, err := decodeReview(review)
		_, _ = decodeHead(review) // an API server writes the head first, a fuzzer need not
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+64*len(review)); got > limit {
			t.Errorf("%d bytes allocate %d, the limit is %d", len(review), got, limit)
		}
		if err == nil && (!bytes.Contains(review, whole.Object) || !bytes.Contains(review, whole.OldObject)) {
			t.Errorf("objects %q and %q", whole.Object, whole.OldObject)
		}
	})
}
