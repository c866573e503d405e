//go:build corpus

package corpus

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/report"
)

// TestGo builds small Go programs for both machines, with and without symbols,
// position independent and unoptimised. Each is named for the verdict that it
// should get. Where a method is called through an interface, unknown will do. Those
// whose names begin with cgo have functions in C as well, which makes the C
// linker link them.
func TestGo(t *testing.T) {
	requireTools(t)
	programs, err := filepath.Glob("testdata/go/*_*")
	if err != nil || len(programs) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	ways := map[string][]string{
		"plain":       nil,
		"stripped":    {"-ldflags=-s -w"},
		"pie":         {"-buildmode=pie", "-ldflags=-s -w"},
		"unoptimised": {"-gcflags=-N -l", "-ldflags=-s -w"},
	}
	for _, program := range programs {
		name := filepath.Base(program)
		want := report.ABI(name[strings.LastIndexByte(name, '_')+1:])
		for _, arch := range []string{"arm64", "amd64"} {
			for way, flags := range ways {
				t.Run(name+"/"+arch+"/"+way, func(t *testing.T) {
					out := filepath.Join(t.TempDir(), name)
					build := exec.CommandContext(t.Context(), "go", append(append([]string{"build"}, flags...), "-o", out, "./"+program)...)
					build.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
					if strings.HasPrefix(name, "cgo") {
						build.Env = append(build.Env, "CGO_ENABLED=1", "CC="+compilers[arch])
					}
					if text, err := build.CombinedOutput(); err != nil {
						t.Fatalf("%v: %v\n%s", build, err, text)
					}
					got, err := inspectFile(out)
					if err != nil {
						t.Fatal(err)
					}
					through := strings.HasPrefix(name, "wrapped") && got.ABI == report.ABIUnknown
					if got.ABI != want && !through {
						t.Errorf("judged %s by %s, want %s: %s", got.ABI, got.Basis, want, got.Reason)
					}
				})
			}
		}
	}
}
