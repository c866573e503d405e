package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// killTimeout is how long a killed process may take to be gone.
const killTimeout = 10 * time.Second

// Folders of the processes, within the control plane's.
const (
	apiServerFolder = "kube-apiserver"
	etcdFolder      = "etcd"
)

// KillAPIServer ends kube-apiserver without a warning. etcd stays.
func (c *ControlPlane) KillAPIServer(ctx context.Context) error {
	return killChild(ctx, "--cert-dir="+filepath.Join(c.dir, apiServerFolder))
}

// KillEtcd ends etcd without a warning. The API server stays, without storage.
func (c *ControlPlane) KillEtcd(ctx context.Context) error {
	return killChild(ctx, "--data-dir="+filepath.Join(c.dir, etcdFolder))
}

// StartAPIServer starts it again, at its address and with its keys, and waits
// until it is healthy.
func (c *ControlPlane) StartAPIServer() error {
	log, err := os.OpenFile(c.Log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	server := c.environment.ControlPlane.GetAPIServer()
	server.Err = log
	if err := errors.Join(server.Start(), log.Close()); err != nil {
		return fmt.Errorf("starting the API server again: %w", err)
	}
	return nil
}

// StartEtcd starts it again, at its address and with its data.
func (c *ControlPlane) StartEtcd() error {
	if err := c.environment.ControlPlane.Etcd.Start(); err != nil {
		return fmt.Errorf("starting etcd again: %w", err)
	}
	return nil
}

// killChild kills the child process with the given argument, and waits for its
// end.
func killChild(ctx context.Context, argument string) error {
	processes, err := exec.CommandContext(ctx, "ps", "-axww", "-o", "pid=,ppid=,args=").Output()
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	for line := range strings.Lines(string(processes)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] != strconv.Itoa(os.Getpid()) || !strings.Contains(line, argument) {
			continue
		}
		id, err := strconv.Atoi(fields[0])
		if err != nil {
			return err
		}
		if err := syscall.Kill(id, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing process %d: %w", id, err)
		}
		return wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, killTimeout, true, func(context.Context) (bool, error) {
			return errors.Is(syscall.Kill(id, 0), syscall.ESRCH), nil
		})
	}
	return fmt.Errorf("no process of ours runs with %s", argument)
}
