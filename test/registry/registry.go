// Package registry runs CNCF Distribution's registry, as built by tools/ensure
// registry, for tests and the demo: real images, a real protocol, real
// credentials. It listens on loopback only.
//
// It is not for production: storage is a plain folder, and CorruptBlob and
// RemoveBlob break it on purpose.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

const (
	// startTimeout is how long the registry may take until it listens.
	startTimeout = 30 * time.Second
	// stopTimeout is how long it may take to end before it is killed.
	stopTimeout = 10 * time.Second
	// startPoll is how often the log is looked at for the port.
	startPoll = 20 * time.Millisecond
)

// Options are the options of Start.
type Options struct {
	// Binary is the path of the registry's executable.
	Binary string
	// Dir is the folder for its configuration, logs and storage; made if need
	// be. A registry started again in the same Dir has the same content.
	Dir string
	// Users are passwords by user. With any, every request needs one of them.
	Users map[string]string
	// Port is the TCP port to listen on; 0 is any free one.
	Port int
	// Certificate and Key are paths of PEM files. With them it serves HTTPS,
	// without them plain HTTP.
	Certificate, Key string
}

// Registry is a running registry.
type Registry struct {
	dir  string
	host string

	command *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	waitErr error         // of the process; read after ended
	close   sync.Once
}

// Start starts a registry and returns when it listens. It runs until Close, or
// until ctx is done.
func Start(ctx context.Context, options Options) (*Registry, error) {
	r := &Registry{dir: options.Dir, ended: make(chan struct{})}
	config, err := writeConfig(options)
	if err != nil {
		return nil, fmt.Errorf("configuring a registry: %w", err)
	}
	log, err := os.Create(r.Log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	access, err := os.Create(r.AccessLog())
	if err != nil {
		return nil, err
	}
	defer access.Close()

	r.command = exec.CommandContext(ctx, options.Binary, "serve", config)
	r.command.Stdout, r.command.Stderr = access, log
	r.command.Cancel = func() error { return r.command.Process.Signal(os.Interrupt) }
	r.command.WaitDelay = stopTimeout
	// Environment variables for another registry, or for traces, would
	// configure this one.
	r.command.Env = []string{"OTEL_TRACES_EXPORTER=none", "HOME=" + options.Dir}
	if err := r.command.Start(); err != nil {
		return nil, fmt.Errorf("starting a registry (tools/ensure registry builds it): %w", err)
	}
	go func() {
		r.waitErr = r.command.Wait()
		close(r.ended)
	}()
	port, err := r.awaitPort(ctx)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return r, nil
}

// Host is the registry's part of an image reference: 127.0.0.1:PORT.
func (r *Registry) Host() string { return r.host }

// Log is the path of the registry's log.
func (r *Registry) Log() string { return filepath.Join(r.dir, "registry.log") }

// AccessLog is the path of the file with one line for each request that was
// answered, in the combined log format.
func (r *Registry) AccessLog() string { return filepath.Join(r.dir, "access.log") }

// Close ends the registry and waits for it. Its storage stays.
func (r *Registry) Close() error {
	var err error
	r.close.Do(func() {
		select {
		case <-r.ended:
			if r.waitErr != nil {
				err = fmt.Errorf("the registry ended by itself (see %s): %w", r.Log(), r.waitErr)
			}
			return
		default:
		}
		// An interrupt ends it at once; only a drain time would make it wait.
		if err = r.command.Process.Signal(os.Interrupt); errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		select {
		case <-r.ended:
		case <-time.After(stopTimeout):
			err = errors.Join(err, r.command.Process.Kill())
			<-r.ended
		}
	})
	return err
}

// listening matches the registry's log line about its listener.
var listening = regexp.MustCompile(`listening on 127\.0\.0\.1:([0-9]+)`)

// awaitPort waits until the registry listens and returns its port.
func (r *Registry) awaitPort(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		log, err := os.ReadFile(r.Log())
		if err != nil {
			return 0, err
		}
		if match := listening.FindSubmatch(log); match != nil {
			return strconv.Atoi(string(match[1]))
		}
		select {
		case <-r.ended:
			return 0, fmt.Errorf("the registry ended before it listened: %s", tail(log))
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for the registry to listen: %w: %s", ctx.Err(), tail(log))
		case <-time.After(startPoll):
		}
	}
}

// tail returns the end of a log.
func tail(log []byte) []byte {
	const most = 1000
	return log[max(0, len(log)-most):]
}
