//go:build prove

package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	// startTimeout bounds a program's start, under strace and emulated.
	startTimeout = time.Minute
	// stopTimeout bounds its end.
	stopTimeout = 20 * time.Second
)

// emulators are the programs that run executables of another architecture, and
// their package.
var emulators = map[string]string{"arm64": "qemu-aarch64-static", "amd64": "qemu-x86_64-static"}

const emulatorPackage = "qemu-user-static"

// TestStrace runs every program in each of its scenarios and compares its calls
// with the verdict.
func TestStrace(t *testing.T) {
	tools := map[string]string{"strace": "strace"}
	for arch, emulator := range emulators {
		if arch != runtime.GOARCH {
			tools[emulator] = emulatorPackage
		}
	}
	need(t.Context(), t, tools)
	if os.Geteuid() != 0 {
		t.Log("not root: only what needs no root is run, as this user")
	}

	rows := []string{"BINARY\tVERDICT\tRUN AS\tOBSERVED\tAGREE"}
	t.Cleanup(func() { t.Log(table(rows)) })
	observe := func(p program, scenarios []scenario) {
		for _, s := range scenarios {
			if os.Geteuid() != 0 && (s.user == 0 || s.ambient != nil) {
				continue
			}
			t.Run(p.name+"/"+s.name, func(t *testing.T) {
				seen, err := trace(t, p, s)
				row := func(observed, agree string) {
					rows = append(rows, fmt.Sprintf("%s\t%s by %s\t%s\t%s\t%s", p.name, p.verdict.Capset.ABI, p.verdict.Capset.Basis, s.name, observed,
						agree))
				}
				if err != nil {
					row("-", "could not be run")
					t.Fatal(err)
				}
				found := Contradictions(p.verdict.Capset, seen, s.must)
				if len(found) > 0 {
					row(Summary(seen), "NO: "+strings.Join(found, "; "))
					t.Fatalf("%s: the verdict %+v: %s", p.name, p.verdict.Capset, strings.Join(found, "; "))
				}
				row(Summary(seen), "yes")
			})
		}
	}

	for _, arch := range []string{"arm64", "amd64"} {
		observe(fromDebian(t, "bookworm", arch, "haproxy", "/usr/sbin/haproxy"), haproxyWithout())
		observe(fromDebian(t, "trixie", arch, "haproxy", "/usr/sbin/haproxy"), haproxy30())
		observe(fromDebian(t, "sid", arch, "haproxy", "/usr/sbin/haproxy"), haproxy32())
		observe(fromDebian(t, "trixie", arch, "nginx", "/usr/sbin/nginx"), nginx())
		observe(fixture30(t, arch), standIn())
		observe(fixture32(t, arch), standIn())
	}
	built := build(t, true)
	name := "haproxy " + built.Version + " musl "
	observe(fromMusl(t, name+"dynamic arm64", built.Dynamic), haproxy30())
	observe(fromMusl(t, name+"static arm64", built.Static), haproxy30())
	observe(fromMusl(t, name+"static-pie arm64", built.StaticPIE), haproxy30())
	observe(fromMusl(t, name+"static arm64, no USE_LINUX_CAP", build(t, false).Static), haproxyWithout())
}

// trace runs the program and returns the capability calls that strace saw.
func trace(t *testing.T, p program, s scenario) ([]Call, error) {
	t.Helper()
	folder := staging(t)
	if err := os.Chmod(folder, 0o777); err != nil {
		return nil, err
	}
	if s.config != nil {
		if err := os.WriteFile(filepath.Join(folder, "config"), []byte(s.config(folder)), 0o644); err != nil {
			return nil, err
		}
	}
	args := []string{"-f", "-v", "-e", "trace=capget,capset", "-o", filepath.Join(folder, "trace")}
	if p.verdict.Machine != runtime.GOARCH {
		args = append(args, emulators[p.verdict.Machine])
	}
	command, err := p.command()
	if err != nil {
		return nil, err
	}
	args = append(args, command...)
	for _, arg := range s.args {
		args = append(args, strings.ReplaceAll(arg, "%s", folder))
	}
	if err := run(t.Context(), s, folder, args); err != nil {
		return nil, err
	}
	written, err := os.Open(filepath.Join(folder, "trace"))
	if err != nil {
		return nil, err
	}
	defer written.Close()
	return ParseTrace(written)
}

// run runs strace with args as the scenario's user. A server is ended once it
// answers: everything that a start does is then done.
func run(ctx context.Context, s scenario, folder string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var output bytes.Buffer
	command := exec.Command("strace", args...)
	command.Dir = folder
	command.Stdout, command.Stderr = &output, &output
	// With -o, strace ignores signals: send them to the whole process group.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 && s.user != 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.user), Gid: uint32(s.user)}
		command.SysProcAttr.AmbientCaps = s.ambient
	}
	if err := command.Start(); err != nil {
		return err
	}
	signal := func(signal syscall.Signal) { _ = syscall.Kill(-command.Process.Pid, signal) }
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()

	if s.config == nil {
		select {
		case err := <-ended:
			return said(err, &output)
		case <-ctx.Done():
			signal(syscall.SIGKILL)
			return said(errors.Join(ctx.Err(), <-ended), &output)
		}
	}
	ready, stopAsking := context.WithCancelCause(ctx)
	defer stopAsking(nil)
	answered := make(chan error, 1)
	go func() { answered <- Await(ready, filepath.Join(folder, "socket")) }()
	select {
	case err := <-ended:
		stopAsking(errors.New("it ended"))
		return said(errors.Join(errors.New("it ended before it answered"), err), &output)
	case err := <-answered:
		if err != nil {
			signal(syscall.SIGKILL)
			return said(errors.Join(err, <-ended), &output)
		}
	}
	signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		// strace ends as its program did: by the signal.
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			return nil
		}
		return said(err, &output)
	case <-time.After(stopTimeout):
		signal(syscall.SIGKILL)
		return said(errors.Join(errors.New("it did not end"), <-ended), &output)
	}
}

// said adds a program's output to an error.
func said(err error, output *bytes.Buffer) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w\n%s", err, output)
}

// table aligns rows of columns that tabs separate.
func table(rows []string) string {
	var aligned strings.Builder
	writer := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	fmt.Fprintln(writer)
	for _, row := range rows {
		fmt.Fprintln(writer, row)
	}
	writer.Flush()
	return aligned.String()
}
