package admission

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

func TestDeadlines(t *testing.T) {
	for _, tt := range []struct {
		query string
		want  time.Duration
	}{
		{"?timeout=10s", 10*time.Second - ReplyReserve},
		{"", DefaultTimeout - ReplyReserve},
		{"?timeout=nonsense", DefaultTimeout - ReplyReserve},
		{"?timeout=-1s", DefaultTimeout - ReplyReserve},
		{"?timeout=1000h", maxTimeout - ReplyReserve},
		{"?timeout=600ms", 300 * time.Millisecond},
	} {
		t.Run(tt.query, func(t *testing.T) {
			before := time.Now()
			(&Deadlines{}).Set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				deadline, ok := r.Context().Deadline()
				// It was set after before and ahead of now, however slow this is.
				if !ok || deadline.Sub(before) < tt.want || time.Until(deadline) > tt.want {
					t.Errorf("deadline in %v, want %v", time.Until(deadline), tt.want)
				}
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/validate-pods"+tt.query, nil))
		})
	}
}

// TestDeadlinesOfNewConnections: the time of a connection's first request counts
// from its handshake on, and no other's does.
func TestDeadlinesOfNewConnections(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, tt := range []struct {
		name   string
		began  time.Duration
		remote string
		want   time.Duration
	}{
		{"a slow handshake", -3 * time.Second, "192.0.2.1:1", -3 * time.Second},
		{"another connection", -3 * time.Second, "192.0.2.1:2", 0},
		{"stood open", -6 * time.Second, "192.0.2.1:1", 0},
	} {
		d := &Deadlines{}
		d.begin("192.0.2.1:1", now.Add(tt.began))
		if got := d.start(tt.remote, now, 10*time.Second).Sub(now); got != tt.want {
			t.Errorf("%s: it counts from %v, want %v", tt.name, got, tt.want)
		}
		if got := d.start(tt.remote, now, 10*time.Second).Sub(now); got != 0 {
			t.Errorf("%s: the second request counts from %v", tt.name, got)
		}
	}
	d := &Deadlines{}
	for i := range 3 * maxBegun {
		d.begin(strconv.Itoa(i), now)
	}
	if len(d.began) > maxBegun {
		t.Errorf("%d connections are remembered", len(d.began))
	}
}

// TestDeadlinesTLS: handshakes are seen, and what was asked of them before goes on.
func TestDeadlinesTLS(t *testing.T) {
	d, asked := &Deadlines{}, 0
	server := httptest.NewUnstartedServer(d.Set(http.NotFoundHandler()))
	server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		asked++
		return nil, nil
	}}
	d.TLS(server.TLS)
	server.StartTLS()
	defer server.Close()
	remembered := func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.began)
	}
	connection, err := tls.Dial("tcp", server.Listener.Addr().String(), server.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if asked != 1 || remembered() != 1 {
		t.Errorf("%d asked, %d remembered after a handshake", asked, remembered())
	}
	response, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if remembered() != 1 { // the one that has not asked
		t.Errorf("%d remembered after a request", remembered())
	}
}

// TestDeadlinesInACrowd: the more wait, the more time is kept for their answers.
func TestDeadlinesInACrowd(t *testing.T) {
	for _, tt := range []struct {
		waiting int64
		query   string
		want    time.Duration
	}{
		{0, "?timeout=10s", 9500 * time.Millisecond},
		{500, "?timeout=10s", 8500 * time.Millisecond},
		{100_000, "?timeout=10s", 7 * time.Second},
		{100_000, "?timeout=1s", 500 * time.Millisecond},
	} {
		d := &Deadlines{}
		d.waiting.Store(tt.waiting)
		before := time.Now()
		d.Set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			deadline, _ := r.Context().Deadline()
			// It was set after before and ahead of now, however slow this is.
			if left := time.Until(deadline); deadline.Sub(before) < tt.want || left > tt.want {
				t.Errorf("%d wait, %s: deadline in %v, want %v", tt.waiting, tt.query, left, tt.want)
			}
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/validate-pods"+tt.query, nil))
		if d.waiting.Load() != tt.waiting {
			t.Errorf("%d wait afterwards", d.waiting.Load())
		}
	}
}
