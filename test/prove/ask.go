package prove

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	// askTimeout bounds one question to a server.
	askTimeout = 5 * time.Second
	// askPoll is how often a server that does not answer is asked again.
	askPoll = 50 * time.Millisecond
)

// Await asks the HTTP server on a Unix socket until it answers 200: it has then
// done all that it does at its start. It ends with ctx.
func Await(ctx context.Context, socket string) error {
	for {
		err := ask(ctx, socket)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer on %s: %w", socket, errors.Join(context.Cause(ctx), err))
		case <-time.After(askPoll):
		}
	}
}

func ask(ctx context.Context, socket string) error {
	dialer := net.Dialer{Timeout: askTimeout}
	connection, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(connection, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	if fields := strings.Fields(answer); len(fields) < 2 || fields[1] != "200" {
		return fmt.Errorf("the answer is %q", answer)
	}
	return nil
}
