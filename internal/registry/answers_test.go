package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/capvet/capvet/internal/report"
)

// TestEveryAnswerKeepsThePace: a dripping answer ends whatever its status is and
// whoever reads it. A retried request does not wait for one again.
func TestEveryAnswerKeepsThePace(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusPartialContent, http.StatusUnauthorized, http.StatusNotFound,
		http.StatusServiceUnavailable} {
		for _, kind := range []string{manifests, blobs, ""} {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				body := &drip{left: 1 << 20, piece: 1, wait: time.Second}
				rules := requestRules{pace{1000, 10 * time.Second}}
				transport := rules.on(roundTripper(func(*http.Request) (*http.Response, error) {
					attempts++
					return &http.Response{StatusCode: status, Body: body}, nil
				}))
				request := requestFor(t, "http://registry.example/v2/x/"+kind+"/y")
				response, err := transport.RoundTrip(request)
				if err == nil {
					_, err = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
				if read := 1<<20 - body.left; !errors.Is(err, errStalled) || read > 11 || attempts != 1 {
					t.Errorf("%d for %q: %d bytes of %d attempts, %v", status, kind, read, attempts, err)
				}
			})
		}
	}
}

func requestFor(t *testing.T, address string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// session opens a session with the repository x of a server.
func session(t *testing.T, server *httptest.Server) *Session {
	t.Helper()
	host := strings.TrimPrefix(server.URL, "http://")
	options := anywhere
	options.PlainHTTP = []string{host}
	client, err := NewClient(Options{TransportOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := client.ParseReference(host + "/x:y")
	if err != nil {
		t.Fatal(err)
	}
	return client.Open(ref.Context(), authn.Anonymous)
}

// TestAnswersAreBounded: an error is cut and keeps its class; a token server's
// answer is bounded although its address looks like a layer's.
func TestAnswersAreBounded(t *testing.T) {
	var sent atomic.Int64
	realm := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/" && realm != "":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q", realm))
			w.WriteHeader(http.StatusUnauthorized)
			return
		case strings.Contains(r.URL.Path, "manifests"):
			w.WriteHeader(http.StatusNotFound)
		}
		if r.URL.Path != "/v2/" {
			pieces := 1024
			if realm != "" {
				pieces = 8192 // more than fits between the two ends
			}
			for range pieces {
				n, err := w.Write(make([]byte, 8<<10))
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		}
	}))
	defer server.Close()
	s := session(t, server)
	if _, err := s.Manifest(t.Context(), "y", nil); FailureClass(err) != report.FailureNotFound {
		t.Errorf("a large 404: %v", err)
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	blob, err := s.Blob(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, blob); err != nil || n != 8<<20 {
		t.Errorf("a layer of %d bytes, %v", n, err)
	}
	_ = blob.Close()
	realm = server.URL + "/v2/x/blobs/" + digest.String()
	sent.Store(0)
	if _, err := session(t, server).Blob(t.Context(), digest); err == nil || sent.Load() >= 64<<20 {
		t.Errorf("%d bytes of a large token, %v", sent.Load(), err)
	}
}

func TestReferenceBound(t *testing.T) {
	client, err := NewClient(Options{})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a.", MaxReferenceBytes/2) + "example/x:y"
	if _, err := client.ParseReference(long); !errors.Is(err, ErrReference) || len(err.Error()) > 200 {
		t.Errorf("got %v", err)
	}
	if _, err := client.ParseReference("registry.example/" + strings.Repeat("a", 200) + ":" + strings.Repeat("b", 128)); err != nil {
		t.Error(err)
	}
}

// TestReadDocument: a small document reserves nothing, a large one its size before
// its second part is read, and one without a size the most that it can take.
func TestReadDocument(t *testing.T) {
	const limit = 1 << 20
	for _, tt := range []struct {
		name         string
		length       int
		size, expect int64
		err          error
	}{
		{"empty", 0, 0, 0, nil},
		{"small", unreservedBytes, unreservedBytes, 0, nil},
		{"small, without a size", unreservedBytes, -1, 0, nil},
		{"large", limit, limit, limit, nil},
		{"large, without a size", limit, -1, 2 * limit, nil},
		{"too large", limit + 1, -1, 2 * limit, ErrTooLarge},
		{"declared too large", 0, limit + 1, 0, ErrTooLarge},
	} {
		reserved, held := int64(0), 0
		source := strings.NewReader(strings.Repeat("x", tt.length))
		content, release, err := ReadDocument(t.Context(), source, tt.size, limit, func(_ context.Context, n int64) (func(), error) {
			reserved += n
			held++
			if read := tt.length - source.Len(); read > unreservedBytes+1 {
				t.Errorf("%s: %d bytes were read before the reservation", tt.name, read)
			}
			return func() { held-- }, nil
		})
		if !errors.Is(err, tt.err) || err == nil && len(content) != tt.length || reserved != tt.expect {
			t.Errorf("%s: %d bytes, %d reserved, %v", tt.name, len(content), reserved, err)
		}
		if err == nil {
			release()
		}
		if held != 0 {
			t.Errorf("%s: the memory was not released", tt.name)
		}
	}
}

// TestBreakerSparesOthers: a repository that connects and does not answer opens no
// other repository's breaker, nor does a host that redirects there or names it as
// its token server.
func TestBreakerSparesOthers(t *testing.T) {
	hang := errors.New("no answer")
	sent := map[string]int{}
	b := newBreaker(roundTripper(func(r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
		sent[r.URL.Path]++
		if strings.Contains(r.URL.Path, "bad") {
			return nil, hang
		}
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	send := func(r *http.Request) error {
		response, err := b.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	}
	redirected := requestFor(t, "http://shared.example/bad/cdn")
	redirected.Response = &http.Response{Request: requestFor(t, "http://other.example/v2/x/blobs/y")}
	for _, r := range []*http.Request{
		requestFor(t, "http://shared.example/v2/bad/manifests/x"), redirected, requestFor(t, "http://shared.example/bad-token?scope=x"),
	} {
		for i := range 2 * breakerFailures {
			if err := send(r); errors.Is(err, errBreakerOpen) != (i >= breakerFailures) {
				t.Errorf("%s, attempt %d: %v", r.URL, i, err)
			}
		}
		if n := sent[r.URL.Path]; n != breakerFailures {
			t.Errorf("%s: %d requests were sent", r.URL, n)
		}
	}
	for _, path := range []string{"v2/good/manifests/x", "token?scope=good", "v2/"} {
		address := "http://shared.example/" + path
		if err := send(requestFor(t, address)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestBreakerCloses: an answer closes a breaker, and the deadlines of hasty requests
// open none.
func TestBreakerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failure error
		b := newBreaker(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, failure
		}))
		send := func(path string) error {
			response, err := b.RoundTrip(&http.Request{URL: &url.URL{Scheme: "http", Host: "a.example", Path: path}})
			if err == nil {
				_ = response.Body.Close()
			}
			return err
		}
		failure = context.DeadlineExceeded
		for range 2 * breakerFailures {
			if err := send("/v2/x/blobs/y"); errors.Is(err, errBreakerOpen) {
				t.Fatal("a hasty request opened the breaker")
			}
		}
		failure = errors.New("connection refused")
		for range breakerFailures {
			_ = send("/v2/x/blobs/y")
		}
		if err := send("/v2/z/blobs/y"); !errors.Is(err, errBreakerOpen) {
			t.Errorf("a host without connections got a request: %v", err)
		}
		time.Sleep(breakerTimeout + time.Second)
		failure = nil
		for range 2 {
			for _, path := range []string{"/v2/x/blobs/y", "/v2/z/blobs/y"} {
				if err := send(path); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
	})
}
