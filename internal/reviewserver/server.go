// Package reviewserver serves AdmissionReviews over TLS: it bounds connections,
// time and memory, authenticates clients, decodes reviews and sets deadlines.
//
// It does not judge: a Reviewer answers the decoded requests. All input is
// untrusted, since any client can reach the port, except the objects in the
// requests of an authenticated API server, which has validated them.
package reviewserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// Defaults of Options.
const (
	// DefaultConnections leaves room for API servers with 600 requests in flight,
	// which is their default.
	DefaultConnections = 1024
	// DefaultHeaderTime is more than a TLS handshake takes over a bad network.
	DefaultHeaderTime = 10 * time.Second
	// DefaultReviewTime is an API server's own default timeout.
	DefaultReviewTime = 10 * time.Second
	// DefaultIdleTime is longer than the 90 seconds after which an API server
	// closes an idle connection. If this end closed first, a review in flight on
	// that connection would be lost.
	DefaultIdleTime = 2 * time.Minute
	// DefaultReviewMemory holds ten of the largest Pods that an API server accepts, each with
	// its old object, besides any number of typical ones.
	DefaultReviewMemory = 64 << 20
)

const (
	// answerTime bounds judging and sending an answer. No API server waits longer
	// than 30 seconds.
	answerTime = time.Minute
	// maxHeaderBytes is far more than the few hundred bytes of an API server's header.
	maxHeaderBytes = 16 << 10
	// closeTime bounds how long Start waits for open requests after its context ends.
	closeTime = 30 * time.Second
	// dialTime bounds the request that StartedChecker makes.
	dialTime = 10 * time.Second
)

// Options configure a Server. All but Host, ClientCAFile and ClientNames are required.
type Options struct {
	// Host is the address to listen on; empty means all addresses.
	Host string
	Port int
	// Connections is the maximum number of open connections.
	Connections int
	// HeaderTime bounds a TLS handshake, and the header of a request.
	HeaderTime time.Duration
	// ReviewTime bounds the arrival of a request's body.
	ReviewTime time.Duration
	// IdleTime is how long a connection stays open without a request.
	IdleTime time.Duration
	// ReviewMemory bounds the bytes of all reviews in progress beyond the first 32 KiB of
	// each. A further one waits. One review of the maximum size always fits.
	ReviewMemory int64
	// ClientCAFile holds the certificate authorities, in PEM form, of client
	// certificates; empty means that any client is answered.
	ClientCAFile string
	// ClientNames are the common or DNS names that a client certificate may have.
	ClientNames []string
	// GetCertificate returns the serving certificate.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Registry       prometheus.Registerer
	Log            logr.Logger
}

// Server replaces controller-runtime's webhook server, which has no setting for
// these bounds, decodes a review twice, and answers an unreadable review with a
// denial. This one answers it with an HTTP error, so that the failurePolicy applies.
//
// It speaks HTTP/1.1 only, as API servers do with a webhook behind a Service
// (https://issue.k8s.io/75791).
type Server struct {
	webhook.Server // its mux, and the metrics of the registered paths

	options     Options
	connections *connections
	clients     *clients
	deadlines   deadlines
	watch       watch
	memory      *semaphore.Weighted
	ballast     []byte // see ballastBytes
	draining    atomic.Bool
	log         logr.Logger
}

// New returns a Server and registers its metrics.
func New(o Options) (*Server, error) {
	clients, err := newClients(o.ClientCAFile, o.ClientNames)
	if err != nil {
		return nil, err
	}
	return &Server{
		Server:      webhook.NewServer(webhook.Options{}),
		options:     o,
		connections: newConnections(o.Connections, o.HeaderTime, o.Registry),
		clients:     clients,
		memory:      semaphore.NewWeighted(max(o.ReviewMemory, maxReviewBytes)),
		ballast:     make([]byte, ballastBytes),
		log:         o.Log.WithName("admission"),
	}, nil
}

// Handle serves the reviews of a path with a Reviewer.
func (s *Server) Handle(path string, reviewer Reviewer) {
	s.Register(path, &handler{server: s, reviewer: reviewer})
}

// Drain makes the server close each connection after its next answer. An API
// server keeps connections open between reviews; if the server closed one while a
// review is in flight on it, that review would get no answer.
func (s *Server) Drain() { s.draining.Store(true) }

// Draining reports whether Drain was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Start implements webhook.Server. It serves until ctx ends, and then until all
// open requests are answered.
func (s *Server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address())
	if err != nil {
		return fmt.Errorf("serving admission reviews: %w", err)
	}
	return s.serve(ctx, listener)
}

func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:   s.WebhookMux(),
		Protocols: protocols,
		// The end of ctx does not interrupt a request in progress.
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext:       s.connections.accept,
		ConnState:         s.connections.setState,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: s.options.HeaderTime,
		ReadTimeout:       s.options.HeaderTime + s.options.ReviewTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       s.options.IdleTime,
		// At debug level: any client could fill the log.
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.options.Log.WithName("connections")), slog.LevelDebug),
	}
	closed := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		closed <- server.Shutdown(last)
	}()
	tlsListener := tls.NewListener(listener, s.tlsConfig()) //nolint:contextcheck // a handshake has the context of its connection
	if err := server.Serve(tlsListener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-closed
}

func (s *Server) tlsConfig() *tls.Config {
	config := &tls.Config{
		NextProtos: []string{"http/1.1"},
		MinVersion: tls.VersionTLS13,
		// API servers resume no sessions.
		SessionTicketsDisabled: true,
		GetCertificate:         s.options.GetCertificate,
	}
	// A configuration that is returned here must not refer to config itself.
	base := config.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if c := connectionOf(hello.Context()); c != nil {
			c.helloReceived()
			if err := s.connections.await(hello.Context(), c); err != nil {
				return nil, err
			}
		}
		return s.clients.configure(base)
	}
	return config
}

func (s *Server) address() string {
	return net.JoinHostPort(s.options.Host, strconv.Itoa(s.options.Port))
}

// StartedChecker implements webhook.Server. An answer over TLS, of any status, proves that
// the server listens, has a certificate and serves.
func (s *Server) StartedChecker() healthz.Checker {
	return func(r *http.Request) error {
		if err := s.checkAnswers(r.Context(), s.address()); err != nil {
			return fmt.Errorf("admission reviews are not served: %w", err)
		}
		return nil
	}
}

func (s *Server) checkAnswers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // any certificate will do
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "HEAD / HTTP/1.1\r\nHost: capvet\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodHead})
	if err != nil {
		return err
	}
	return response.Body.Close()
}
