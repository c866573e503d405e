package layers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

type anyBudget struct{}

func (anyBudget) Acquire(context.Context, int64) (func(), error) { return func() {}, nil }

// TestSpoolHasNoName: a killed process leaves no temporary file.
func TestSpoolHasNoName(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file keeps its name")
	}
	t.Setenv("TMPDIR", t.TempDir())
	r := &Reader{FileBudget: anyBudget{}}
	content := strings.Repeat("0123456789abcdef", spoolBytes/16) + "end"
	f, err := r.spool(t.Context(), "/large", int64(len(content)), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer f.release()
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	got := make([]byte, 3)
	if _, err := f.ReadAt(got, int64(len(content)-3)); err != nil || string(got) != "end" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSpoolErrors(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("the system has no /dev/full")
	}
	full := func() (*os.File, error) { // under a name of its own, which is removed
		name := filepath.Join(t.TempDir(), "full")
		if err := os.Symlink("/dev/full", name); err != nil {
			return nil, err
		}
		return os.OpenFile(name, os.O_WRONLY, 0)
	}
	missing := func() (*os.File, error) { return os.Open(filepath.Join(t.TempDir(), "missing")) }
	failing := errors.New("connection reset")
	for _, tt := range []struct {
		name   string
		create func() (*os.File, error)
		want   error
		spool  bool
	}{
		{"full disk", full, syscall.ENOSPC, true},
		{"missing folder", missing, os.ErrNotExist, true},
		{"the layer's own error", nil, failing, false},
	} {
		r := &Reader{FileBudget: anyBudget{}, createTemp: tt.create}
		content := iotest.ErrReader(failing)
		if tt.spool {
			content = strings.NewReader("a")
		}
		_, err := r.spool(t.Context(), "/haproxy", spoolBytes+1, content)
		if !errors.Is(err, tt.want) || errors.Is(err, ErrSpool) != tt.spool {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.spool && !strings.Contains(err.Error(), "/haproxy in the folder "+os.TempDir()) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
