//go:build corpus

package musl

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/capvet/capvet/internal/inspect"
	"github.com/capvet/capvet/internal/report"
	"github.com/capvet/capvet/test/debian"
)

// TestHAProxy judges every build. Under CI a missing build input is a failure,
// except for the source of a rolling suite: a mirror may list a release before it
// has the tarball.
func TestHAProxy(t *testing.T) {
	for name, test := range map[string]struct {
		suite string
		moves bool
		caps  bool
		want  report.ABI
	}{
		"3.0":              {suite: "trixie", caps: true, want: report.ABIV1},
		"3.0 without caps": {suite: "trixie", caps: false, want: report.ABINone},
		"3.2":              {suite: "sid", moves: true, caps: true, want: report.ABIV3},
	} {
		t.Run(name, func(t *testing.T) {
			built, err := Build(t.Context(), test.suite, test.caps)
			if errors.Is(err, debian.ErrUnavailable) && (test.moves || os.Getenv("CI") == "") {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, binary := range []struct {
				path    string
				linkage report.Linkage
				pie     bool
			}{
				{built.Dynamic, report.LinkageDynamic, true},
				{built.Static, report.LinkageStatic, false},
				{built.StaticPIE, report.LinkageStatic, true},
			} {
				b := judge(t, binary.path)
				t.Logf("%s: %s, basis %s, %d calls, %s", binary.path, b.Capset.ABI, b.Capset.Basis, len(b.Capset.Calls), b.Capset.Reason)
				if b.Machine != "arm64" || b.Libc != report.LibcMusl || b.Linkage != binary.linkage || b.PIE != binary.pie || !b.Stripped {
					t.Errorf("identity: %+v", b)
				}
				// The release's commit follows the version.
				if b.Product == nil || b.Product.Name != "haproxy" || !strings.HasPrefix(b.Product.Version+"-", built.Version+"-") {
					t.Errorf("product %+v, the source is %s", b.Product, built.Version)
				}
				if test.want == report.ABINone {
					if b.Capset.ABI != report.ABINone || len(b.Capset.Calls) > 0 || !strings.Contains(b.Capset.Reason, "LINUX_CAP") || b.Trigger != nil {
						t.Errorf("want no call, and why: %+v", b)
					}
					continue
				}
				if b.Capset.ABI != test.want || b.Capset.Basis != report.BasisCode {
					t.Errorf("got %s by %s, want %s by code", b.Capset.ABI, b.Capset.Basis, test.want)
				}
				for _, syscall := range []string{"capget", "capset"} {
					if !slices.ContainsFunc(b.Capset.Calls, func(c report.Call) bool { return c.Syscall == syscall && c.ABI == test.want }) {
						t.Errorf("no %s with %s: %+v", syscall, test.want, b.Capset.Calls)
					}
				}
				if b.Trigger == nil || b.Trigger.When != report.WhenStart {
					t.Errorf("trigger %+v", b.Trigger)
				}
			}
		})
	}
}

func judge(t *testing.T, path string) report.Binary {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := inspect.File(bytes.NewReader(content), int64(len(content)), path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
