// Package process runs programs for tests.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// stopTime is how long a program may take to end in order.
	stopTime = time.Minute
	// tailBytes is how much of a log is shown.
	tailBytes = 4 << 10
)

// Process is a program that was started.
type Process struct {
	// Log is the path of its output.
	Log string

	command *exec.Cmd
	told    atomic.Bool // to end
	ended   chan struct{}
	err     error // exit error, set before ended is closed
}

// Start starts a command, which writes all its output to the file log.
func Start(command *exec.Cmd, log string) (*Process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the program has its own copy
	command.Stdout, command.Stderr = file, file
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", command.Path, err)
	}
	p := &Process{Log: log, command: command, ended: make(chan struct{})}
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Ended is closed once the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// PID returns the program's process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Tail returns the end of the log.
func (p *Process) Tail() string {
	log, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-tailBytes):])
}

// Terminate sends SIGTERM and does not wait.
func (p *Process) Terminate() error {
	p.told.Store(true)
	if err := p.command.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Wait waits for the program's end and returns its exit error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill ends the program at once, and waits.
func (p *Process) Kill() {
	p.told.Store(true)
	_ = p.command.Process.Kill() // it may have ended
	<-p.ended
}

// Stop ends the program, in order if it can, and waits. It is an error that the
// program had ended by itself.
func (p *Process) Stop() error {
	select {
	case <-p.ended:
		if !p.told.Load() {
			return fmt.Errorf("%s ended by itself: %s; its log ends with:\n%s", p.command.Path, p.command.ProcessState, p.Tail())
		}
		return nil
	default:
	}
	if err := p.Terminate(); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		p.Kill()
	}
	return nil
}
