package reviewserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// testServer is a Server on a port of the loopback network.
type testServer struct {
	*Server
	address string
	stop    func() error // drains it and returns the result of serve
}

// newServer returns a Server with a certificate and a reviewer. The test starts it.
func newServer(t *testing.T, o Options, reviewer reviewerFunc) *testServer {
	t.Helper()
	certificate := newClientAuthority(t).sign(t, "", "a", time.Now().Add(time.Hour), x509.ExtKeyUsageServerAuth)
	o.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }
	h := newHandler(t, o, reviewer)
	h.server.Handle(path, reviewer)
	return &testServer{Server: h.server}
}

func (s *testServer) start(t *testing.T) *testServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, listener) }()
	s.stop = func() error {
		cancel()
		return <-ended
	}
	t.Cleanup(cancel)
	return s
}

func roomy() Options {
	return Options{Connections: 64, HeaderTime: time.Minute, ReviewTime: time.Minute, IdleTime: time.Minute}
}

const path = "/validate-pods"

// header is the start of a review's header.
const header = "POST " + path + "?timeout=20s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"

const aReview = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","name":"a"}}`

// caller is a client at an address of the loopback network, with one connection.
type caller struct {
	net.Conn
	reader *bufio.Reader
}

func (s *testServer) call(t *testing.T, from string) caller {
	t.Helper()
	c, err := s.dial(t, from)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *testServer) dial(t *testing.T, from string) (caller, error) {
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}},
		Config:    &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}},
	}
	conn, err := dialer.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		return caller{}, err
	}
	t.Cleanup(func() { conn.Close() })
	return caller{conn, bufio.NewReader(conn)}, nil
}

// connect opens a connection without a handshake.
func (s *testServer) connect(t *testing.T, from string) net.Conn {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends a review and returns the answer's status.
func (c caller) ask() (int, error) {
	if _, err := fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", header, len(aReview), aReview); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func allow(context.Context, Request) admission.Response { return admission.Allowed("") }

// TestStrangersDoNotCrowdOut: a client that takes every connection, with or
// without sending reviews, does not lock out another address.
func TestStrangersDoNotCrowdOut(t *testing.T) {
	const stranger, apiServer = "127.0.0.2", "127.0.0.3"
	for _, tt := range []struct {
		name string
		ask  bool
	}{{"silent", false}, {"asking", true}} {
		t.Run(tt.name, func(t *testing.T) {
			o := roomy()
			o.Connections = 8
			s := newServer(t, o, allow).start(t)
			early := s.call(t, apiServer)
			if status, err := early.ask(); err != nil || status != http.StatusOK {
				t.Fatalf("%d %v", status, err)
			}
			// Half of them get a place, the others wait for one.
			asked := make(chan struct{}, 2*o.Connections)
			for range 2 * o.Connections {
				if !tt.ask {
					s.connect(t, stranger)
					continue
				}
				go func() {
					if c, err := s.dial(t, stranger); err == nil {
						_, _ = c.ask()
						asked <- struct{}{}
					}
				}()
			}
			if tt.ask {
				for range o.Connections - 1 {
					<-asked
				}
			}
			for i := range 2 {
				if status, err := s.call(t, apiServer).ask(); err != nil || status != http.StatusOK {
					t.Errorf("the API server's connection %d among strangers: %d %v", i, status, err)
				}
			}
			if status, err := early.ask(); err != nil || status != http.StatusOK {
				t.Errorf("the API server's older connection: %d %v", status, err)
			}
			// For the API server's 2 further connections. One that asks gives way by itself.
			if got := evictions(t, s); got < 2 && !tt.ask {
				t.Errorf("%v connections evicted", got)
			}
		})
	}
}

// evictions returns the number of connections that were closed for want of a place.
func evictions(t *testing.T, s *testServer) float64 {
	t.Helper()
	families, err := s.options.Registry.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "capvet_connections_closed_total" {
			return family.Metric[0].Counter.GetValue()
		}
	}
	t.Fatal("not counted")
	return 0
}

// TestSlowCallers: the server does not wait for a client that sends too slowly.
func TestSlowCallers(t *testing.T) {
	const short = 2 * time.Second // long enough for the handshake of a slow machine
	shortHeader := func(o *Options) { o.HeaderTime = short }
	shortReview := func(o *Options) { o.HeaderTime, o.ReviewTime = short, short }
	for _, tt := range []struct {
		name    string
		bounded func(*Options)
		sent    string
		want    string // how the answer begins
	}{
		{"no header", shortHeader, header, ""},
		{"half a review", shortReview, header + "Content-Length: 1000\r\n\r\n{", "HTTP/1.1 400 "},
		{"half a chunk", shortReview, header + "Transfer-Encoding: chunked\r\n\r\n10\r\n{", "HTTP/1.1 400 "},
		// The answer may be lost with the connection.
		{"to nowhere", shortReview, "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{", ""},
		{"idle", func(o *Options) { o.IdleTime = short }, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "},
		{"a long header", func(*Options) {}, header + "X: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", "HTTP/1.1 431 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := roomy()
			tt.bounded(&o)
			s := newServer(t, o, allow).start(t)
			c := s.call(t, "127.0.0.1")
			if _, err := io.WriteString(c, tt.sent); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c.reader) // until it is closed
			if !strings.HasPrefix(string(answer), tt.want) {
				t.Errorf("%q %v", answer, err)
			}
		})
	}
	t.Run("no handshake", func(t *testing.T) {
		t.Parallel()
		o := roomy()
		o.HeaderTime = short
		s := newServer(t, o, allow).start(t)
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got, err := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("%q %v", got, err)
		}
	})
}

// TestSlowJudging: neither the time limits for receiving a review nor the end of
// the process interrupt its judging.
func TestSlowJudging(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	var judged error
	o := roomy()
	o.HeaderTime, o.ReviewTime, o.IdleTime = time.Second, time.Second, time.Second
	s := newServer(t, o, func(ctx context.Context, _ Request) admission.Response {
		close(asked)
		<-answer
		judged = ctx.Err()
		return admission.Allowed("")
	}).start(t)
	c := s.call(t, "127.0.0.1")
	status, failed := make(chan int, 1), make(chan error, 1)
	go func() {
		code, err := c.ask()
		status <- code
		failed <- err
	}()
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	time.Sleep(2 * (o.HeaderTime + o.ReviewTime))
	close(answer)
	if got, err := <-status, <-failed; err != nil || got != http.StatusOK || judged != nil {
		t.Errorf("status %d, %v; the judging: %v", got, err, judged)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestOneProtocol: HTTP/2 is not offered.
func TestOneProtocol(t *testing.T) {
	c := newServer(t, roomy(), allow).start(t).call(t, "127.0.0.1")
	if got := c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("speaks %q", got)
	}
}
