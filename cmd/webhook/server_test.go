package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	ctrladmission "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/capvet/capvet/internal/admission"
)

// served is a reviewServer that runs.
type served struct {
	*reviewServer
	address  string
	registry *prometheus.Registry
	stop     func() error // ends it in order
}

// serveReviews runs a server as run does, with a handler of the test's.
func serveReviews(t *testing.T, o serverOptions, handler admission.Reviewer) served {
	t.Helper()
	registry := prometheus.NewRegistry()
	connections, err := newConnections(o.connections, registry)
	if err != nil {
		t.Fatal(err)
	}
	donor := httptest.NewUnstartedServer(nil)
	donor.StartTLS()
	donor.Close()
	s := served{registry: registry, reviewServer: &reviewServer{
		Server: webhook.NewServer(webhook.Options{}), options: o, connections: connections, deadlines: &admission.Deadlines{}, errors: log.New(io.Discard, "", 0),
		tls: []func(*tls.Config){func(c *tls.Config) { c.Certificates = donor.TLS.Certificates }},
	}}
	s.Register(pathValidatePods, connections.asking(admission.NewServer(0, logr.Discard()).Serve(handler)))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.serve(ctx, listener)
	}()
	s.stop = func() error {
		cancel()
		return <-ended
	}
	t.Cleanup(cancel)
	return s
}

func roomy() serverOptions {
	return serverOptions{connections: 64, headerTime: time.Minute, reviewTime: time.Minute, idleTime: time.Minute}
}

const aReview = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","name":"a"}}`

// reviewer is a function that answers requests.
type reviewer func(ctx context.Context, req admission.Request) ctrladmission.Response

func (f reviewer) Handle(ctx context.Context, req admission.Request) ctrladmission.Response {
	return f(ctx, req)
}

// caller is somebody at an address of the loopback network, with one connection.
type caller struct {
	net.Conn
	reader *bufio.Reader
}

func (s served) call(t *testing.T, from string) caller {
	t.Helper()
	c, err := s.dial(t, from)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s served) dial(t *testing.T, from string) (caller, error) {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}, Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}}
	conn, err := dialer.DialContext(t.Context(), "tcp", s.address)
	if err != nil {
		return caller{}, err
	}
	t.Cleanup(func() { conn.Close() })
	return caller{conn, bufio.NewReader(conn)}, nil
}

// ask sends a review and returns the answer's status.
func (c caller) ask() (int, error) {
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", pathValidatePods, len(aReview), aReview); err != nil {
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

// awaitEnd waits until the other end closes the connection.
func (c caller) awaitEnd(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.reader); errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

var allow = reviewer(func(context.Context, admission.Request) ctrladmission.Response {
	return ctrladmission.Allowed("")
})

// TestStrangersDoNotCrowdOut: whoever takes every connection there is, with or
// without asking, does not keep another address from being answered.
func TestStrangersDoNotCrowdOut(t *testing.T) {
	const stranger, apiServer = "127.0.0.2", "127.0.0.3"
	for _, tt := range []struct {
		name string
		ask  bool
	}{{"silent", false}, {"asking", true}} {
		t.Run(tt.name, func(t *testing.T) {
			o := roomy()
			o.connections = 8
			s := serveReviews(t, o, allow)
			early := s.call(t, apiServer)
			if status, err := early.ask(); err != nil || status != http.StatusOK {
				t.Fatalf("%d %v", status, err)
			}
			var strangers []caller
			for range 2 * o.connections {
				c, err := s.dial(t, stranger)
				if err != nil {
					continue // turned away
				}
				if tt.ask {
					if status, err := c.ask(); err != nil || status != http.StatusOK {
						t.Fatalf("a stranger: %d %v", status, err)
					}
				}
				strangers = append(strangers, c)
			}
			for i := range 2 {
				if status, err := s.call(t, apiServer).ask(); err != nil || status != http.StatusOK {
					t.Errorf("the API server's connection %d among strangers: %d %v", i, status, err)
				}
			}
			if status, err := early.ask(); err != nil || status != http.StatusOK {
				t.Errorf("the API server's older connection: %d %v", status, err)
			}
			strangers[0].awaitEnd(t)
			families, err := s.registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			// 16 strangers for 7 places, then 2 more of the API server's.
			if got := families[0].Metric[0].Counter.GetValue(); got != 11 {
				t.Errorf("%v connections closed for want of room", got)
			}
		})
	}
}

// TestSlowCallers: whoever sends nothing, or little, is not waited for.
func TestSlowCallers(t *testing.T) {
	const short = 2 * time.Second // and yet a slow machine's handshake fits in
	header := "POST " + pathValidatePods + " HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
	for _, tt := range []struct {
		name    string
		bounded func(*serverOptions)
		sent    string
		want    string // how the answer begins
	}{
		{"no header", func(o *serverOptions) { o.headerTime = short }, header, ""},
		{"half a review", func(o *serverOptions) { o.headerTime, o.reviewTime = short, short }, header + "Content-Length: 1000\r\n\r\n{", "HTTP/1.1 400 "},
		{"half a chunk", func(o *serverOptions) { o.headerTime, o.reviewTime = short, short }, header + "Transfer-Encoding: chunked\r\n\r\n10\r\n{", "HTTP/1.1 400 "},
		{"to nowhere", func(o *serverOptions) { o.headerTime, o.reviewTime = short, short }, "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{", ""}, // what it is told may be lost with the connection
		{"idle", func(o *serverOptions) { o.idleTime = short }, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "},
		{"a long header", func(*serverOptions) {}, header + "X: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", "HTTP/1.1 431 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := roomy()
			tt.bounded(&o)
			s := serveReviews(t, o, allow)
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
		o.headerTime = short
		s := serveReviews(t, o, allow)
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

// TestSlowJudging: the bounds on what is sent do not end what takes long to be
// judged, and neither does the end of the process.
func TestSlowJudging(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var judged error
	o := roomy()
	o.headerTime, o.reviewTime, o.idleTime = time.Second, time.Second, time.Second
	s := serveReviews(t, o, reviewer(func(ctx context.Context, _ admission.Request) ctrladmission.Response {
		close(asked)
		<-answer
		judged = ctx.Err()
		return ctrladmission.Allowed("")
	}))
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
	time.Sleep(2 * (o.headerTime + o.reviewTime))
	close(answer)
	if got, err := <-status, <-failed; err != nil || got != http.StatusOK || judged != nil {
		t.Errorf("status %d, %v; the judging: %v", got, err, judged)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestOneProtocol: HTTP/2 is not offered, whoever asks for it.
func TestOneProtocol(t *testing.T) {
	c := serveReviews(t, roomy(), allow).call(t, "127.0.0.1")
	if got := c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("speaks %q", got)
	}
}

func TestServerOptions(t *testing.T) {
	for _, flag := range []string{"--max-connections=0", "--header-time=0", "--review-time=-1s", "--idle-time=0s"} {
		_, err := parseOptions([]string{"--cert-dir=/", flag}, io.Discard)
		if name, _, _ := strings.Cut(flag, "="); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
