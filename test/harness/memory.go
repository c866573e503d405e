package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/capvet/capvet/test/process"
)

// MemoryLimit keeps a process within a memory cgroup, as a container's limit does.
type MemoryLimit struct {
	process *process.Process
	bytes   int64
	folder  string // empty where this user cannot make a cgroup
}

// LimitMemory limits the memory of a running process, in bytes. Without the right to make a
// cgroup, only Check holds the process to the limit.
func LimitMemory(p *process.Process, bytes int64) (*MemoryLimit, error) {
	m := &MemoryLimit{process: p, bytes: bytes}
	for parent, file := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		folder := filepath.Join(parent, fmt.Sprintf("capvet-%d", p.PID()))
		if os.Mkdir(folder, 0o700) != nil {
			continue
		}
		if os.WriteFile(filepath.Join(folder, file), []byte(strconv.FormatInt(bytes, 10)), 0o600) != nil {
			os.Remove(folder) // the memory controller is elsewhere
			continue
		}
		m.folder = folder
		return m, os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(p.PID())), 0o600)
	}
	return m, nil
}

// Enforced reports whether the kernel holds the process to the limit.
func (m *MemoryLimit) Enforced() bool { return m.folder != "" }

// Close removes the cgroup, after the end of the process.
func (m *MemoryLimit) Close() error {
	if m.folder == "" {
		return nil
	}
	return os.Remove(m.folder)
}

// Check returns the resident memory of the process at its peak, in bytes. It is an error that the
// process has ended, or has had more than the limit.
func (m *MemoryLimit) Check() (int64, error) {
	select {
	case <-m.process.Ended():
		return 0, fmt.Errorf("the process ended; its log ends with:\n%s", m.process.Tail())
	default:
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.process.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		value, ok := strings.CutPrefix(line, "VmHWM:") // proc_pid_status(5): in kB
		if !ok {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, err
		}
		peak := kilobytes << 10
		if peak > m.bytes {
			err = fmt.Errorf("%d bytes were resident, the limit is %d", peak, m.bytes)
		}
		return peak, err
	}
	return 0, errors.New("/proc tells no peak of the resident memory")
}
