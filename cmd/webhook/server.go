package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/capvet/capvet/internal/admission"
)

const (
	// defaultConnections is room for an API server with all requests that it has
	// at a time by default, which are 600, and its like.
	defaultConnections = 1024
	// defaultHeaderTime is more than a TLS handshake takes over a bad network.
	defaultHeaderTime = 10 * time.Second
	// defaultReviewTime is how long an API server itself waits by default.
	defaultReviewTime = 10 * time.Second
	// defaultIdleTime is longer than the 90 seconds after which API servers close a
	// connection themselves: one that is closed here just as a review comes down it
	// loses the review.
	defaultIdleTime = 2 * time.Minute
	// answerTime bounds an answer, the judging included: no API server waits for
	// more than 30 seconds.
	answerTime = time.Minute
	// maxHeaderBytes is far more than the few hundred bytes of an API server's.
	maxHeaderBytes = 16 << 10
	// closeTime is how long requests may take to end once the server closes.
	closeTime = 30 * time.Second
	// dialTime is how long the server may take to answer itself.
	dialTime = 10 * time.Second
)

// serverOptions bound what whoever reaches the port can take.
type serverOptions struct {
	host        string
	port        int
	connections int
	headerTime  time.Duration
	reviewTime  time.Duration
	idleTime    time.Duration
}

func (o *serverOptions) register(flags *flag.FlagSet) {
	flags.StringVar(&o.host, "host", "", "`address` to serve admission reviews on; empty: all")
	flags.IntVar(&o.port, "port", 9443, "port to serve admission reviews on")
	flags.IntVar(&o.connections, "max-connections", defaultConnections, "connections for admission reviews at a time; a further one takes the place of one on which nobody has asked yet, or else of one of the address with the most")
	flags.DurationVar(&o.headerTime, "header-time", defaultHeaderTime, "how long the TLS handshake may take, and how long the header of a request")
	flags.DurationVar(&o.reviewTime, "review-time", defaultReviewTime, "how long a review may take to arrive")
	flags.DurationVar(&o.idleTime, "idle-time", defaultIdleTime, "how long a connection is kept that nobody asks on; shorter than an API server's 90s it loses reviews")
}

func (o *serverOptions) validate() error {
	for name, value := range map[string]int64{
		"max-connections": int64(o.connections), "header-time": int64(o.headerTime), "review-time": int64(o.reviewTime), "idle-time": int64(o.idleTime),
	} {
		if value <= 0 {
			return fmt.Errorf("--%s: give more than 0", name)
		}
	}
	return nil
}

// reviewServer takes the place of controller-runtime's own server, for bounds
// that have no setting there.
//
// It speaks HTTP/1.1 only, as API servers do with a webhook that is a Service
// (https://issue.k8s.io/75791): HTTP/2 would be there for strangers alone.
type reviewServer struct {
	webhook.Server // for its mux, and the metrics of what is registered there
	options        serverOptions
	tls            []func(*tls.Config)
	connections    *connections
	deadlines      *admission.Deadlines
	errors         *log.Logger // of connections that fail
}

// Start implements webhook.Server.
func (s *reviewServer) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address())
	if err != nil {
		return fmt.Errorf("serving admission reviews: %w", err)
	}
	return s.serve(ctx, listener)
}

// serve answers until ctx ends, and then until all requests have their answer.
func (s *reviewServer) serve(ctx context.Context, listener net.Listener) error {
	// API servers resume no sessions, so there are no tickets for others.
	config := &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	for _, set := range s.tls {
		set(config)
	}
	s.deadlines.TLS(config)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:   s.WebhookMux(),
		Protocols: protocols,
		// A request that came in time is judged in full.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return s.deadlines.Connection(s.connections.begin(ctx, conn), conn)
		},
		ConnState:         s.connections.state,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: s.options.headerTime,
		ReadTimeout:       s.options.headerTime + s.options.reviewTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       s.options.idleTime,
		ErrorLog:          s.errors,
	}
	closed := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		closed <- server.Shutdown(last)
	}()
	if err := server.Serve(tls.NewListener(listener, config)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-closed
}

func (s *reviewServer) address() string {
	return net.JoinHostPort(s.options.host, strconv.Itoa(s.options.port))
}

// StartedChecker implements webhook.Server: a TLS handshake proves that it
// listens and has a certificate.
func (s *reviewServer) StartedChecker() healthz.Checker {
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTime}, Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it asks itself whether there is a certificate at all
	return func(r *http.Request) error {
		conn, err := dialer.DialContext(r.Context(), "tcp", s.address())
		if err != nil {
			return fmt.Errorf("admission reviews are not served: %w", err)
		}
		return conn.Close()
	}
}
