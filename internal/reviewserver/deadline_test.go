package reviewserver

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// checkDeadline checks that a deadline which was set since before leaves this
// much time, however slow the machine is.
func checkDeadline(ctx context.Context, t *testing.T, before time.Time, want time.Duration) {
	t.Helper()
	deadline, ok := ctx.Deadline()
	if left := time.Until(deadline); !ok || deadline.Sub(before) < want || left > want {
		t.Errorf("deadline in %v, want %v", left, want)
	}
}

func TestDeadlines(t *testing.T) {
	for _, tt := range []struct {
		timeout string
		want    time.Duration
	}{
		{"10s", 10*time.Second - replyReserve},
		{"", defaultTimeout - replyReserve},
		{"nonsense", defaultTimeout - replyReserve},
		{"-1s", defaultTimeout - replyReserve},
		{"1000h", maxTimeout - replyReserve},
		{"600ms", 300 * time.Millisecond},
	} {
		t.Run(tt.timeout, func(t *testing.T) {
			before := time.Now()
			ctx, done := (&deadlines{}).start(t.Context(), tt.timeout)
			checkDeadline(ctx, t, before, tt.want)
			done()
			if ctx.Err() == nil {
				t.Error("the context outlives its request")
			}
		})
	}
}

// TestDeadlinesAmongOthers: the more requests are in progress, the more time is
// kept for their answers.
func TestDeadlinesAmongOthers(t *testing.T) {
	for _, tt := range []struct {
		inProgress int64
		timeout    string
		want       time.Duration
	}{
		{0, "10s", 9500 * time.Millisecond},
		{500, "10s", 7500 * time.Millisecond},
		{100_000, "10s", 7 * time.Second},
		{100_000, "1s", 500 * time.Millisecond},
	} {
		d := &deadlines{}
		d.inProgress.Store(tt.inProgress)
		before := time.Now()
		ctx, done := d.start(t.Context(), tt.timeout)
		checkDeadline(ctx, t, before, tt.want)
		done()
		if d.inProgress.Load() != tt.inProgress {
			t.Errorf("%d in progress afterwards", d.inProgress.Load())
		}
	}
}

// TestDeadlinesOfConnections: the time of a handshake comes off the deadline of
// the first request on a connection, and of no other.
func TestDeadlinesOfConnections(t *testing.T) {
	const wait = 200 * time.Millisecond // of which the kernel's ticks may hide some milliseconds
	left := make(chan time.Duration, 1)
	s := newServer(t, roomy(), func(ctx context.Context, _ Request) admission.Response {
		deadline, _ := ctx.Deadline()
		left <- time.Until(deadline)
		if connectionOf(ctx).hello.Load() != 0 {
			t.Error("the handshake would be charged twice")
		}
		return admission.Allowed("")
	})
	handshakes := 0
	certificate := s.options.GetCertificate
	s.options.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		handshakes++
		time.Sleep(wait) // as on a machine without a free processor
		return certificate(hello)
	}
	c := s.start(t).call(t, "127.0.0.1")
	most := 20*time.Second - replyReserve // the timeout in the query
	first := most
	if runtime.GOOS == "linux" {
		first -= wait / 2
	}
	for _, most := range []time.Duration{first, most} {
		if status, err := c.ask(); err != nil || status != http.StatusOK {
			t.Fatal(status, err)
		}
		if got := <-left; got > most || got < defaultTimeout {
			t.Errorf("%v left, want no more than %v, and more than by default", got, most)
		}
	}
	if handshakes != 1 {
		t.Errorf("%d handshakes for one connection", handshakes)
	}
}

// TestSinceLastData: the kernel knows how long a request has waited.
func TestSinceLastData(t *testing.T) {
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
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(wait)
	sent, received, known := sinceLastData(server)
	if known != (runtime.GOOS == "linux") {
		t.Errorf("known is %v", known)
	}
	// The kernel counts in ticks of some milliseconds.
	if known && (received < wait/2 || sent < received+wait/2) {
		t.Errorf("sent %v ago, received %v ago, want %v and %v", sent, received, 2*wait, wait)
	}
	server.Close()
	pipe, _ := net.Pipe()
	for _, conn := range []net.Conn{server, pipe} {
		if _, received, known := sinceLastData(conn); known || received != 0 {
			t.Errorf("%T, closed or not TCP: %v", conn, received)
		}
	}
}
