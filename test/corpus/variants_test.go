//go:build corpus

package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/test/debian"
)

// sources are small programs, each named for the verdict that it should get.
const sources = "../../internal/elfcaps/testdata/src"

// compilers are the C compilers, by architecture.
var compilers = map[string]string{"arm64": "aarch64-linux-gnu-gcc", "amd64": "x86_64-linux-gnu-gcc"}

// tools are the compilers and Debian's packages of them. Those for C++ depend on
// the C library's own, those for C do not.
var tools = map[string]string{
	"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
	"x86_64-linux-gnu-gcc": "gcc", "x86_64-linux-gnu-g++": "g++",
}

// flags are the ways to build a program; where arch is given, for that one.
var flags = []struct{ arch, name, flags string }{
	{"", "O0", "-O0"},
	{"", "O1", "-O1"},
	{"", "O2", "-O2"},
	{"", "O3", "-O3"},
	{"", "Os", "-Os"},
	{"", "no-plt", "-O2 -fno-plt"},
	{"", "lto", "-O2 -flto"},
	{"", "static", "-O2 -static"},
	{"", "static-pie", "-O2 -static-pie"},
	{"", "hardened", "-O2 -fstack-protector-all -fstack-clash-protection -D_FORTIFY_SOURCE=2 -Wl,-z,now"},
	{"", "library", "-O2 -shared -fPIC"},
	{"", "not PIE", "-O2 -fno-pie -no-pie"},
	{"arm64", "branch protection", "-O2 -mbranch-protection=standard"},
	{"amd64", "CET", "-O2 -fcf-protection -mavx2"},
	{"amd64", "large", "-O2 -mcmodel=large -fno-pie -no-pie"},
}

// TestVariants builds every program in every way and judges it, stripped. No
// verdict may be wrong; one that could not be reached is counted.
func TestVariants(t *testing.T) {
	requireTools(t)
	programs, err := filepath.Glob(filepath.Join(sources, "*_*.c"))
	if err != nil || len(programs) == 0 {
		t.Fatalf("no programs in %s: %v", sources, err)
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, runtime.NumCPU())
	right, unknown := 0, []string{}
	for _, program := range programs {
		name := strings.TrimSuffix(filepath.Base(program), ".c")
		if strings.Contains(name, "libcap") {
			continue // built together, for a test of their own
		}
		for arch, compiler := range compilers {
			for _, way := range flags {
				if way.arch != "" && way.arch != arch {
					continue
				}
				if strings.HasPrefix(name, "dlsym") && strings.HasPrefix(way.name, "static") {
					continue // there is no loader that it could ask
				}
				wait.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					what := fmt.Sprintf("%s %s %s", arch, name, way.name)
					got, err := judge(t, compiler, way.flags, program)
					mu.Lock()
					defer mu.Unlock()
					switch want := report.ABI(name[strings.LastIndexByte(name, '_')+1:]); {
					case err != nil:
						t.Errorf("%s: %v", what, err)
					case got.ABI == want:
						right++
					case got.ABI == report.ABIUnknown, want == report.ABIUnknown && got.ABI == report.ABIV1:
						unknown = append(unknown, what)
					default:
						t.Errorf("%s: judged %s by %s, want %s: %s", what, got.ABI, got.Basis, want, got.Reason)
					}
				})
			}
		}
	}
	wait.Wait()
	t.Logf("right %d, unknown %d: %s", right, len(unknown), strings.Join(unknown, ", "))
}

// requireTools installs the compilers where they are missing.
func requireTools(t *testing.T) {
	err := debian.Tools(t.Context(), tools)
	if errors.Is(err, debian.ErrUnavailable) && os.Getenv("CI") == "" {
		t.Skipf("the programs cannot be built: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// judge builds a program and returns its verdict.
func judge(t *testing.T, compiler, flags, source string) (report.Capset, error) {
	out := filepath.Join(t.TempDir(), "program")
	args := append(strings.Fields(flags), "-w", "-s", source, "-o", out)
	if text, err := exec.CommandContext(t.Context(), compiler, args...).CombinedOutput(); err != nil {
		return report.Capset{}, fmt.Errorf("%s %s: %w: %s", compiler, strings.Join(args, " "), err, text)
	}
	return inspectFile(out)
}

func inspectFile(path string) (report.Capset, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return report.Capset{}, err
	}
	b, err := inspect.File(bytes.NewReader(content), int64(len(content)), path)
	return b.Capset, err
}
