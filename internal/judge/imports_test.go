package judge_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestPure: no import leads to a network, a cluster or a registry, not even through
// other modules.
func TestPure(t *testing.T) {
	deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".", "../policy", "../product", "../report").Output()
	if err != nil {
		t.Fatal(err)
	}
	impure := regexp.MustCompile(`(^|/)net/http$|^k8s\.io/client-go|/go-containerregistry|/internal/(imagescan|pullauth|admission)$`)
	packages := strings.Fields(string(deps))
	for _, pkg := range packages {
		if impure.MatchString(pkg) {
			t.Errorf("judge imports %s", pkg)
		}
	}
	if len(packages) < 50 {
		t.Errorf("only %d packages were listed", len(packages))
	}
}
