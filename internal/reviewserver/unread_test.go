package reviewserver

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// TestUnreadReviews: a review that is too large or too deep to decode reaches its reviewer
// without the objects, so that policies answer it, and is received to its end. Only a client
// that sends no review, or without end, gets an HTTP error.
func TestUnreadReviews(t *testing.T) {
	var got Request
	h := newHandler(t, Options{ReviewMemory: DefaultReviewMemory}, func(_ context.Context, req Request) admission.Response {
		got = req
		return admission.Allowed("")
	})
	const head = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"kind":"Pod"},
		"resource":{"group":"","version":"v1","resource":"pods"},"subResource":"s","name":"n","namespace":"shop","operation":"CREATE",
		"userInfo":{"username":"jane","groups":["a"]},`
	const large, deep = "the review has more than 7340032 bytes", "they cannot be decoded"
	fill := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		name, body string
		status     int
		unread     string
	}{
		{"a small one", head + `"object":{"a":1}}}`, http.StatusOK, ""},
		{"a large object", head + `"object":{"a":"` + fill(maxReviewBytes) + `"},"dryRun":false}}`, http.StatusOK, large},
		{"a large old object", head + `"oldObject":{"a":"` + fill(maxReviewBytes) + `"}}}`, http.StatusOK, large},
		{"both", head + `"object":{"a":"` + fill(maxReviewBytes) + `"},"oldObject":{"a":"` + fill(maxReviewBytes) + `"}}}`, http.StatusOK, large},
		{"a deep object", head + `"object":` + strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000) + "}}", http.StatusOK, deep},
		{"an incomplete one", head + `"object":{"a":1`, http.StatusOK, deep},
		{"no end", head + `"object":{"a":"` + fill(maxReviewBytes+maxDiscardedBytes), http.StatusRequestEntityTooLarge, ""},
		{"no object", head + `"name":"` + fill(maxReviewBytes), http.StatusRequestEntityTooLarge, ""},
		{"no review", `{"apiVersion":"` + fill(maxReviewBytes), http.StatusRequestEntityTooLarge, ""},
		{"another version", strings.Replace(head, "io/v1", "io/v2", 1) + `"object":{"a":"` + fill(maxReviewBytes) + `"}}}`,
			http.StatusRequestEntityTooLarge, ""},
		{"a list", "[" + fill(maxReviewBytes) + "]", http.StatusRequestEntityTooLarge, ""},
	} {
		got = Request{}
		body := strings.NewReader(tt.body)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status || got.Unread != tt.unread {
			t.Errorf("%s: status %d, unread %q, want %d and %q: %.200s", tt.name, w.Code, got.Unread, tt.status, tt.unread, w.Body)
		}
		if tt.status != http.StatusOK {
			continue
		}
		if got.UID != "u" || got.Resource.Resource != "pods" || got.SubResource != "s" || got.Name != "n" || got.Namespace != "shop" ||
			got.Operation != "CREATE" || got.UserInfo.Username != "jane" || (len(got.Object)+len(got.OldObject) == 0) != (tt.unread != "") {
			t.Errorf("%s: got %+v", tt.name, got)
		}
		if rest, err := io.Copy(io.Discard, body); rest > 0 || err != nil {
			t.Errorf("%s: %d bytes are not received: %v", tt.name, rest, err)
		}
	}
}

// TestUnreadReviewOnTheWire: the client of a review that is too large gets its answer, over
// a connection.
func TestUnreadReviewOnTheWire(t *testing.T) {
	h := newHandler(t, Options{ReviewMemory: DefaultReviewMemory}, func(_ context.Context, req Request) admission.Response {
		return admission.Denied(req.Unread)
	})
	server := httptest.NewServer(h)
	defer server.Close()
	body := `{"apiVersion":"admission.k8s.io/v1","request":{"uid":"u","object":"` + strings.Repeat("x", 3*maxReviewBytes) + `"}}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if answer, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(answer), "the review has more than") {
		t.Errorf("%s: %s: %v", response.Status, answer, err)
	}
}
