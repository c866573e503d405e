// Command witness is the first process of an arm64 kernel that make prove
// boots: it starts HAProxy as a user without privileges, waits until it serves,
// ends it, passes the legacy header itself, and prints the kernel's log.
//
// The kernel names only the first program with the legacy header per boot. If
// HAProxy does not use it, this command comes first: a log with its name proves
// that the warning works, and that HAProxy did not cause it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/capvet/capvet/test/prove"
)

const (
	nobody = 65534
	// startTimeout bounds HAProxy's start, on an emulated processor.
	startTimeout = 2 * time.Minute
	// stopTimeout bounds its end.
	stopTimeout = 20 * time.Second
	// logSize is how much of the kernel's log is read, in bytes: all of a boot.
	logSize = 1 << 20
)

func main() {
	if err := testify(); err != nil {
		fmt.Println(prove.LineFailed, err)
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println(prove.LineFailed, "powering off:", err)
	}
}

func testify() error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	// A kernel may have mounted its devices already.
	if err := unix.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	if err := serve(); err != nil {
		return fmt.Errorf("%s: %w", prove.GuestProgram, err)
	}
	fmt.Println(prove.LineServed)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_1}
	var data unix.CapUserData
	if err := unix.Capget(&header, &data); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	log := make([]byte, logSize)
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
	if err != nil {
		return fmt.Errorf("reading the kernel's log: %w", err)
	}
	for line := range strings.SplitSeq(string(log[:size]), "\n") {
		if strings.Contains(line, "Linux version") || strings.Contains(line, "capabilit") {
			fmt.Println(prove.LineLog + line)
		}
	}
	fmt.Println(prove.LineDone)
	return nil
}

// serve starts HAProxy, waits until it answers and ends it.
func serve() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, prove.GuestProgram, "-db", "-f", prove.GuestConfig)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	command.Cancel = func() error { return command.Process.Signal(unix.SIGTERM) }
	command.WaitDelay = stopTimeout
	if err := command.Start(); err != nil {
		return err
	}
	err := prove.Await(ctx, prove.GuestSocket)
	cancel()
	if ended := command.Wait(); err != nil {
		return errors.Join(err, ended)
	}
	return nil
}
