package admission

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"
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
			NewDeadlines().Set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				deadline, ok := r.Context().Deadline()
				// It was set after before and ahead of now, however slow this is.
				if !ok || deadline.Sub(before) < tt.want || time.Until(deadline) > tt.want {
					t.Errorf("deadline in %v, want %v", time.Until(deadline), tt.want)
				}
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/validate-pods"+tt.query, nil))
		})
	}
}

// TestDeadlinesOfConnections: how long a handshake took and a request had to wait
// comes off the time of the first request on a connection.
func TestDeadlinesOfConnections(t *testing.T) {
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	d := NewDeadlines()
	var asked, verified atomic.Int64 // what was asked of handshakes before goes on
	left := make(chan time.Duration, 1)
	server := httptest.NewUnstartedServer(d.Set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		deadline, _ := r.Context().Deadline()
		left <- time.Until(deadline)
	})))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			asked.Add(1)
			return nil, nil
		},
		VerifyConnection: func(tls.ConnectionState) error {
			for _, remote := range d.connections.Keys() { // there is one
				known, _ := d.connections.Get(remote)
				known.waited += 3 * time.Second // as if nobody had had time for its handshake
				d.connections.Add(remote, known)
			}
			verified.Add(1)
			return nil
		},
	}
	d.TLS(server.TLS)
	server.StartTLS()
	defer server.Close()
	connection, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	reader := bufio.NewReader(connection)
	full := 10*time.Second - ReplyReserve
	for _, most := range []time.Duration{full - 3*time.Second, full} {
		if _, err := io.WriteString(connection, "GET /?timeout=10s HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if got := <-left; got > most {
			t.Errorf("%v left, want no more than %v", got, most)
		}
		if known, _ := d.connections.Get(connection.LocalAddr().String()); known.waited != 0 {
			t.Errorf("%v would be charged twice", known.waited)
		}
	}
	if asked.Load() != 1 || verified.Load() != 1 || d.connections.Len() != 1 {
		t.Errorf("of one connection %d were asked, %d verified and %d are known", asked.Load(), verified.Load(), d.connections.Len())
	}
}

// TestSinceReceived: the kernel is asked how long something has been waiting.
func TestSinceReceived(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	const wait = 50 * time.Millisecond
	time.Sleep(wait)
	// The kernel counts in ticks of some milliseconds.
	if got := sinceReceived(server); runtime.GOOS == "linux" && got < wait/2 {
		t.Errorf("%v after %v", got, wait)
	}
	server.Close()
	if got := sinceReceived(server); got != 0 {
		t.Errorf("a closed connection: %v", got)
	}
	pipe, _ := net.Pipe()
	if got := sinceReceived(pipe); got != 0 {
		t.Errorf("no TCP connection: %v", got)
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
		{500, "?timeout=10s", 7500 * time.Millisecond},
		{100_000, "?timeout=10s", 7 * time.Second},
		{100_000, "?timeout=1s", 500 * time.Millisecond},
	} {
		d := NewDeadlines()
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
