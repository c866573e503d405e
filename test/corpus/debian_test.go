//go:build corpus

// Package corpus asserts capvet's verdicts on real executables: on HAProxy and
// nginx as Debian packages them, by the version rule of facts that anybody can
// check, and on a labelled corpus where there is one beside the repository.
package corpus

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/elfcaps"
	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/product"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/test/debian"
)

// fetch returns a package, or ends the test: as a failure under CI, where these
// packages are required, else with the reason.
func fetch(t *testing.T, suite, arch, name string) debian.Package {
	t.Helper()
	packages, err := debian.Fetch(t.Context(), debian.Request{Suite: suite, Arch: arch, Packages: []string{name}})
	switch {
	case errors.Is(err, debian.ErrUnavailable) && os.Getenv("CI") == "":
		t.Skipf("%s of %s/%s is not to be had: %v", name, suite, arch, err)
	case err != nil:
		t.Fatal(err)
	}
	return packages[name]
}

func inspectPackage(t *testing.T, p debian.Package, path string) report.Binary {
	t.Helper()
	executable, err := debian.Extract(t.Context(), p.Path, path)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := inspect.File(bytes.NewReader(executable), int64(len(executable)), path)
	if err != nil {
		t.Fatal(err)
	}
	unscreened(t, path, executable, binary)
	return binary
}

// unscreened checks that the screening for all executables leaves out no program
// that the whole analysis has something to say of.
func unscreened(t *testing.T, name string, executable []byte, b report.Binary) {
	t.Helper()
	f, err := elfcaps.Open(bytes.NewReader(executable), int64(len(executable)), elfcaps.Limits{})
	if err != nil || f.Facts().Shared || b.Capset.ABI == report.ABINone {
		return
	}
	if _, ok, err := inspect.Screen(bytes.NewReader(executable), int64(len(executable)), name); !ok {
		t.Errorf("%s is %s and is screened out: %v", name, b.Capset.ABI, err)
	}
}

// before reports whether a HAProxy version comes before another.
func before(t *testing.T, version, limit string) bool {
	t.Helper()
	a, okA := product.ParseVersion(version)
	b, okB := product.ParseVersion(limit)
	if !okA || !okB {
		t.Fatalf("%q or %q is no version", version, limit)
	}
	return a.Compare(b) < 0
}

// TestHAProxy: no capability code before 2.9-dev5; header v1 from there until
// before 3.1-dev2, from 3.0-dev7 on with a capget at every start; v3 after.
func TestHAProxy(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie", "sid"} {
		for _, arch := range []string{"arm64", "amd64"} {
			t.Run(suite+"/"+arch, func(t *testing.T) {
				p := fetch(t, suite, arch, "haproxy")
				b := inspectPackage(t, p, "/usr/sbin/haproxy")
				t.Logf("%s: %s, basis %s, %d calls", p.Version, b.Capset.ABI, b.Capset.Basis, len(b.Capset.Calls))
				if b.Machine != arch || b.Libc != report.LibcGlibc || b.Linkage != report.LinkageDynamic || !b.Stripped || b.BuildID == "" {
					t.Errorf("identity: %+v", b)
				}
				if b.Product == nil || b.Product.Name != "haproxy" || b.Product.Basis != "symbol" || !strings.HasPrefix(p.Version, b.Product.Version) ||
					b.Product.Version == "" {
					t.Errorf("product %+v of package version %s", b.Product, p.Version)
				}
				upstream, _, _ := strings.Cut(p.Version, "-")
				if before(t, upstream, "2.9-dev5") {
					if b.Capset.ABI != report.ABINone || len(b.Capset.Calls) > 0 || b.Trigger != nil {
						t.Errorf("want no capability call: %+v", b)
					}
					return
				}
				want := report.ABIV3
				if before(t, upstream, "3.1-dev2") {
					want = report.ABIV1
				}
				if b.Capset.ABI != want || b.Capset.Basis != report.BasisCode {
					t.Errorf("got %s by %s, want %s by code", b.Capset.ABI, b.Capset.Basis, want)
				}
				for _, c := range b.Capset.Calls {
					if c.ABI != want || c.Via != "syscall" || !strings.HasPrefix(c.Address, "0x") {
						t.Errorf("call %+v", c)
					}
				}
				if want == report.ABIV1 && (b.Advice == "" || b.Trigger == nil || b.Trigger.When != report.WhenStart) {
					t.Errorf("trigger %+v, advice %q", b.Trigger, b.Advice)
				}
				// Known from the source, src/linuxcap.c, and by strace.
				has := func(function, syscall string) bool {
					return slices.ContainsFunc(b.Capset.Calls, func(c report.Call) bool { return c.Function == function && c.Syscall == syscall })
				}
				if !has("prepare_caps_from_permitted_set", "capget") || !has("prepare_caps_for_setuid", "capset") {
					t.Errorf("calls: %+v", b.Capset.Calls)
				}
			})
		}
	}
}

// TestNginx: capset with header v1 since 1.13.8, only with a configuration for
// it.
func TestNginx(t *testing.T) {
	for _, suite := range []string{"bookworm", "trixie"} {
		for _, arch := range []string{"arm64", "amd64"} {
			t.Run(suite+"/"+arch, func(t *testing.T) {
				p := fetch(t, suite, arch, "nginx")
				b := inspectPackage(t, p, "/usr/sbin/nginx")
				t.Logf("%s: %s, basis %s, %d calls", p.Version, b.Capset.ABI, b.Capset.Basis, len(b.Capset.Calls))
				if b.Capset.ABI != report.ABIV1 || b.Capset.Basis != report.BasisCode {
					t.Errorf("got %s by %s, want v1 by code", b.Capset.ABI, b.Capset.Basis)
				}
				if b.Product == nil || b.Product.Name != "nginx" || !strings.HasPrefix(p.Version, b.Product.Version) {
					t.Errorf("product %+v of package version %s", b.Product, p.Version)
				}
				if b.Trigger == nil || b.Trigger.When != report.WhenConditional {
					t.Errorf("trigger %+v", b.Trigger)
				}
			})
		}
	}
}
