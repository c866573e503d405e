package reviewserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

type reviewerFunc func(context.Context, Request) admission.Response

func (f reviewerFunc) Handle(ctx context.Context, req Request) admission.Response { return f(ctx, req) }

// newHandler returns the handler of a server with these options.
func newHandler(t *testing.T, o Options, reviewer reviewerFunc) *handler {
	t.Helper()
	o.Registry, o.Log = prometheus.NewRegistry(), logr.Discard()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &handler{server: s, reviewer: reviewer}
}

func TestServe(t *testing.T) {
	h := newHandler(t, Options{}, func(_ context.Context, req Request) admission.Response {
		if req.Name == "panics" {
			panic("out of cheese")
		}
		return admission.Denied("no " + req.Name).WithWarnings("w")
	})
	const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","name":"NAME","object":{"a":1}}}`
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"a review", "application/json", review, http.StatusOK},
		{"a panic", "application/json", strings.Replace(review, "NAME", "panics", 1), http.StatusInternalServerError},
		{"no JSON", "application/json", `{`, http.StatusBadRequest},
		{"no request", "application/json", `{"apiVersion":"admission.k8s.io/v1"}`, http.StatusBadRequest},
		{"another version", "application/json", strings.Replace(review, "io/v1", "io/v1beta1", 1), http.StatusBadRequest},
		{"another type", "text/plain", review, http.StatusUnsupportedMediaType},
		{"too large", "application/json", strings.Repeat(" ", maxReviewBytes+1), http.StatusRequestEntityTooLarge},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s: status %d %s, want %d", tt.name, w.Code, w.Body, tt.status)
		}
		if w.Code != http.StatusOK {
			continue
		}
		var got admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.APIVersion != "admission.k8s.io/v1" || got.Kind != "AdmissionReview" || got.Response.UID != "u" || got.Response.Allowed ||
			got.Response.Result.Message != "no NAME" || len(got.Response.Warnings) != 1 {
			t.Errorf("%s: got %+v", tt.name, got.Response)
		}
	}
}

// TestServeObjects: a reviewer gets the objects of its own review as they were
// sent, wherever they stand in it, while other reviews are in progress.
func TestServeObjects(t *testing.T) {
	meeting := make(chan struct{})
	h := newHandler(t, Options{ReviewMemory: DefaultReviewMemory}, func(_ context.Context, req Request) admission.Response {
		select { // two reviews at a time, at least
		case meeting <- struct{}{}:
		case <-meeting:
		}
		return admission.Allowed(string(req.Object) + "|" + string(req.OldObject))
	})
	var all sync.WaitGroup
	for i := range 200 {
		large := strings.Repeat("x", i%7*reviewStep/3)
		for fields, want := range map[string]string{
			`"uid":"u"`: "|",
			`"object" : {"n":I,"s":"L"} , "oldObject" : null,"uid":"u"`:        `{"n":I,"s":"L"}|`,
			`"uid":"u","oldObject":[ I ],"object":{"object":{},"n":I,"s":"L"}`: `{"object":{},"n":I,"s":"L"}|[ I ]`,
			`"object":null,"object":{},"object":"é\u0000I","uid":"u"`:          `"é\u0000I"|`,
			`"object":{"n":I},"object":null,"uid":"u"`:                         "|",
		} {
			all.Go(func() {
				fill := strings.NewReplacer("I", strconv.Itoa(i), "L", large)
				body := fill.Replace(` { "apiVersion" : "admission.k8s.io/v1", "request" : {` + fields + `} } `)
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				var got admissionv1.AdmissionReview
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Errorf("%s: %v", fields, err)
				} else if got.Response.UID != "u" || got.Response.Result.Message != fill.Replace(want) {
					t.Errorf("%s: got %.200s", fields, got.Response.Result.Message)
				}
			})
		}
	}
	all.Wait()
}

// TestServeBoundsMemory: the bytes of all large reviews in progress are bounded. A further one
// waits, and is refused at its deadline; a small one is answered beside them.
func TestServeBoundsMemory(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(newHandler(t, Options{ReviewTime: time.Minute}, func(_ context.Context, req Request) admission.Response {
		if req.Name == "slow" {
			asked <- struct{}{}
			<-answer
		}
		return admission.Allowed("")
	}))
	defer server.Close()
	ask := func(name string, size int, timeout string, chunked bool) int {
		const review = `{"apiVersion":"admission.k8s.io/v1","request":{"uid":"u","name":%q,"object":{"a":%q}}}`
		var body io.Reader = strings.NewReader(fmt.Sprintf(review, name, strings.Repeat("x", size)))
		if chunked {
			body = io.MultiReader(body)
		}
		response, err := server.Client().Post(server.URL+"?timeout="+timeout, "application/json", body)
		if err != nil {
			t.Error(err)
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	const largest = maxReviewBytes - 1000
	var all sync.WaitGroup
	all.Go(func() {
		if status := ask("slow", largest, "30s", false); status != http.StatusOK {
			t.Errorf("the first: status %d", status)
		}
	})
	<-asked
	if status := ask("", reviewStep/2, "30s", false); status != http.StatusOK {
		t.Errorf("a small one beside it: status %d", status)
	}
	if status := ask("", largest, "200ms", false); status != http.StatusServiceUnavailable {
		t.Errorf("a large one beside it, until its deadline: status %d", status)
	}
	for i := range 3 {
		all.Go(func() {
			if status := ask("", largest, "30s", i%2 == 0); status != http.StatusOK {
				t.Errorf("one that waited: status %d", status)
			}
		})
	}
	close(answer)
	all.Wait()
}

// TestBodyMemory: a client that announces much takes memory only for what it sends.
func TestBodyMemory(t *testing.T) {
	h := newHandler(t, Options{ReviewTime: time.Minute}, allow)
	for sent, want := range map[int]bool{reviewStep - 1: true, reviewStep: false} {
		body, writer := io.Pipe()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
		r.ContentLength = maxReviewBytes
		done := make(chan struct{})
		go func() {
			defer close(done)
			var buffer bytes.Buffer
			release, _ := h.server.readBody(t.Context(), httptest.NewRecorder(), r, &buffer)
			release()
		}()
		if _, err := writer.Write(make([]byte, sent)); err != nil {
			t.Fatal(err)
		}
		free := h.server.memory.TryAcquire(maxReviewBytes)
		for !want && free { // until the reader gets there
			h.server.memory.Release(maxReviewBytes)
			free = h.server.memory.TryAcquire(maxReviewBytes)
		}
		if free != want {
			t.Errorf("after %d bytes: all memory is free: %t", sent, free)
		}
		if free {
			h.server.memory.Release(maxReviewBytes)
		}
		writer.Close()
		<-done
	}
}

// TestDrain: while the server drains, a client is told to close its connection.
func TestDrain(t *testing.T) {
	h := newHandler(t, Options{}, func(context.Context, Request) admission.Response { return admission.Allowed("") })
	server := httptest.NewServer(h)
	defer server.Close()
	for _, want := range []bool{false, true} {
		if want {
			h.server.Drain()
		}
		response, err := server.Client().Post(server.URL, "application/json", strings.NewReader(aReview))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Close != want || response.StatusCode != http.StatusOK || h.server.Draining() != want {
			t.Errorf("draining: %t; status %d, the connection is to be closed: %t", want, response.StatusCode, response.Close)
		}
	}
}
