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

// TestDeadlinesOfConnections: how long a handshake took comes off the time of the
// first request on a connection, and how long any request had to wait off its own.
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
	const wait = 200 * time.Millisecond // of which the kernel's ticks may hide some milliseconds
	d := &Deadlines{}
	var asked atomic.Int64
	left := make(chan time.Duration, 1)
	server := httptest.NewUnstartedServer(d.Set(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		deadline, _ := r.Context().Deadline()
		left <- time.Until(deadline)
		if known := r.Context().Value(connectionKey{}).(*connection); known.hello.Load() != 0 {
			t.Error("the handshake would be charged twice")
		}
	})))
	server.Config.ConnContext = d.Connection
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			asked.Add(1)
			time.Sleep(wait) // as if nobody had time for its handshake
			return nil, nil
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
	most := 10*time.Second - ReplyReserve
	first := most
	if runtime.GOOS == "linux" {
		first -= wait / 2
	}
	for _, most := range []time.Duration{first, most} {
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
	}
	if asked.Load() != 1 {
		t.Errorf("what the server does itself for a handshake was done %d times for one", asked.Load())
	}
}

// TestSilence: the kernel is asked how long something has been waiting.
func TestSilence(t *testing.T) {
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
	const wait = 50 * time.Millisecond
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(wait)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(wait)
	sent, received, told := silence(server)
	if told != (runtime.GOOS == "linux") {
		t.Errorf("told is %v", told)
	}
	// The kernel counts in ticks of some milliseconds.
	if told && (received < wait/2 || sent < received+wait/2) {
		t.Errorf("sent %v ago, received %v ago, want %v and %v", sent, received, 2*wait, wait)
	}
	server.Close()
	pipe, _ := net.Pipe()
	for _, conn := range []net.Conn{server, pipe} {
		if _, received, told := silence(conn); told || received != 0 {
			t.Errorf("%T, closed or none of TCP: %v", conn, received)
		}
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
