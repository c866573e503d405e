package process

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestStop(t *testing.T) {
	start := func(script string) *Process {
		p, err := Start(exec.CommandContext(t.Context(), "sh", "-c", script), filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	running := start("echo up; exec sleep 60")
	for range 2 {
		if err := running.Stop(); err != nil {
			t.Errorf("one that runs: %v", err)
		}
	}
	if err := running.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("ended with %v", err)
	}
	broken := start("echo out of cheese; exit 3")
	<-broken.Ended()
	if err := broken.Stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "out of cheese") {
		t.Errorf("one that ended by itself: %v", err)
	}
	killed := start("trap '' TERM; echo up; exec sleep 60")
	killed.Kill()
	if err := killed.Stop(); err != nil {
		t.Errorf("one that was killed: %v", err)
	}
}
